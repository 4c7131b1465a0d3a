"""The study of settings: which values of some keys train the best model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blemish.cli import options
from blemish.cli.logs import say

if TYPE_CHECKING:
    from blemish.tuning import Table

Varied = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--override",
        help="A key and its values, with commas; repeatable.",
        metavar="Section.key=value,value",
        show_default="none; at least one key must vary",
    ),
]


def tune(
    data: Annotated[Path, typer.Argument(help="A data set; its test images are not looked at.", metavar="DIR")],
    *,
    override: Varied = None,
    model: Annotated[str | None, options.detector_option("The detector; see blemish models.", "NAME")] = None,
    config: options.RunFile = None,
    sampler: Annotated[
        str, typer.Option(help="grid: all combinations; tpe: --trials of them.", metavar="NAME")
    ] = "grid",
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many trainings tpe may take.", metavar="N", show_default="none; tpe needs a number"
        ),
    ] = None,
    tuning_split: Annotated[
        Path | None,
        typer.Option(
            help="Other good images and defects, by which to choose.", metavar="DIR", show_default="planted defects"
        ),
    ] = None,
    good: options.Good = None,
    output: options.Output = Path("output/tune"),
    _verbose: options.Verbose = False,
) -> None:
    """Train under several settings and compare them on images held out; an interrupted study continues."""
    from blemish.cli.progress import show_progress
    from blemish.tuning import ask
    from blemish.tuning import tune as study
    from blemish.tuning.plot import save_plot

    question = ask(
        [*(override or []), *options.good_override(good)], model=model, run_file=config, sampler=sampler, trials=trials
    )
    with show_progress() as progress:
        table = study(data, output, question, progress, tuning_split, say)
    typer.echo(table.text())
    if table.finished:
        save_plot(table, output / "tune.png")
        typer.echo(str(output / "tune.png"))
        typer.echo(table.command(data, question.arguments))
    raise typer.Exit(_remarks(table))


def _remarks(table: Table) -> int:
    """Say what a person should know of the table; returns the exit code."""
    from blemish.cli.results import SOME_FAILED

    if table.rivals:
        names = ", ".join(trial.folder.name for trial in table.rivals)
        say(f"The 95 % interval of the best holds others too ({names}): so few images do not tell them apart.")
    for trial in table.failed:
        say(f"blemish: trial {trial.folder.name} failed: {trial.error}")
    for line in table.failed_images:
        say(f"blemish: {line}")
    return SOME_FAILED if table.failed or table.failed_images else 0
