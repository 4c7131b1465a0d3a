"""The import of weights that other programs have trained."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from blemish.cli import options
from blemish.cli.logs import say


def import_(
    file: Annotated[Path, typer.Argument(help="A .pdparams, .pdiparams or .tar file, or its folder.", metavar="FILE")],
    *,
    origin: Annotated[str, typer.Option("--from", help="paddlex or fastflow.", metavar="PROGRAM")],
    good: Annotated[
        Path | None,
        typer.Option(
            "--good-images",
            help="Good images not trained on; they set the threshold.",
            metavar="DIR",
            show_default="the program's fixed threshold stays",
        ),
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        typer.Option(help="ResNet-18, where FILE comes without it.", metavar="FILE", show_default="the one in FILE"),
    ] = None,
    output: options.Output = Path("output/imported"),
    false_alarm_rate: Annotated[float | None, options.rate_option("0.01 with --good-images, else none")] = None,
    device: options.Device = "auto",
    _verbose: options.Verbose = False,
) -> None:
    """Turn weights of PaddleX or FastFlow-Paddle into a model folder; Paddle is not needed."""
    from blemish.cli.progress import show_progress
    from blemish.cli.results import SOME_FAILED
    from blemish.importing import import_model

    with show_progress() as progress:
        report = import_model(
            file,
            origin,
            output,
            good=good,
            backbone_weights=backbone_weights,
            false_alarm_rate=false_alarm_rate,
            device=device,
            progress=progress,
        )
    for line in [*report.failed, *report.lines]:
        say(f"blemish: {line}")
    typer.echo(str(report.folder))
    typer.echo(f"blemish predict {quote(str(report.folder))} INPUT")
    if report.failed:
        raise typer.Exit(SOME_FAILED)
