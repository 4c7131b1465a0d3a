"""The verbs that make data sets: each turns its arguments into one call of the library."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from blemish.cli import options
from blemish.cli.logs import say

Source = Annotated[Path, typer.Argument(help="The folder with the data.", metavar="DIR")]


def convert(
    source: Source,
    *,
    source_type: Annotated[
        str,
        typer.Option(
            "--from",
            help="labelme, voc, coco, yolo, cvat and others; mvtec, list.",
            metavar="FORMAT",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="The folder for what is written.",
            metavar="DIR",
            show_default="output/converted; DIR itself for mvtec",
        ),
    ] = None,
    _verbose: options.Verbose = False,
) -> None:
    """Turn annotations of other tools into a data set; the source is only read."""
    from blemish.cli.progress import show_progress
    from blemish.cli.results import SOME_FAILED
    from blemish.datasets.conversion.convert import convert as make
    from blemish.datasets.conversion.convert import source_kind
    from blemish.errors import DatasetError

    kind = source_kind(source_type)
    folder = output or (source if kind == "mvtec" else Path("output") / "converted")
    with show_progress() as progress:
        report = make(source, kind, folder, progress)
    for line in [*report.warnings, *report.failed, *report.lines]:
        say(f"blemish: {line}")
    if not report.has_images:
        raise DatasetError(f"{source}: nothing could be converted; {report.output} was not made")
    typer.echo(str(report.output))
    if report.train_good:
        typer.echo(f"blemish train {quote(str(report.output))}")
    else:
        say("blemish: there are no good images to learn from. Put images of good parts into train/good")
    if report.failed:
        raise typer.Exit(SOME_FAILED)


def split(
    source: Source,
    *,
    train_percent: Annotated[float, typer.Option(help="Share of the good images to learn from.", metavar="PERCENT")],
    val_percent: Annotated[float, typer.Option(help="Share kept to judge by; the rest of 100.", metavar="PERCENT")],
    good: options.Good = None,
    seed: Annotated[int, typer.Option(help="Another number deals the images otherwise.", metavar="N")] = 0,
    _verbose: options.Verbose = False,
) -> None:
    """Deal the good images into train.txt and val.txt; all defects go to val.txt."""
    from blemish.datasets.conversion.split import split as deal

    report = deal(source, train_percent, val_percent, seed, good or ())
    for line in report.lines:
        say(f"blemish: {line}")
    typer.echo(str(report.folder / "train.txt"))
    typer.echo(str(report.folder / "val.txt"))
