"""Export: a model for another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blemish.cli import options

if TYPE_CHECKING:
    from blemish.config import RunConfig


def export(
    model: options.Model,
    *,
    format_: Annotated[str, typer.Option("--format", help="onnx, openvino, ort or browser.", metavar="FORMAT")],
    output: Annotated[
        Path | None,
        typer.Option(help="The folder for what is written.", metavar="DIR", show_default="output/export/FORMAT"),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            help="onnxruntime-web for browser: a folder, or its .tgz from npm.",
            metavar="PATH",
            show_default="the one in the package",
        ),
    ] = None,
    _verbose: options.Verbose = False,
) -> None:
    """Write a model as another program takes it; prints the folder."""
    from blemish.exporting import export_model

    typer.echo(str(export_model(model, format_, output or Path("output") / "export" / format_, runtime)))


def export_as_configured(config: RunConfig) -> None:
    """The mode `export` of a run file: the model folder, into `inference` of `Global.output`."""
    from blemish.exporting import export_model

    typer.echo(str(export_model(config.exported_model(), "onnx", Path(config.Global.output) / "inference")))
