"""New good images for a model, its false-alarm rate, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blemish.cli import options
from blemish.cli.logs import say
from blemish.errors import UsageError

if TYPE_CHECKING:
    from blemish.models import UpdateInfo
    from blemish.updating import UpdateReport


def update(
    model: options.Model,
    new_good: Annotated[
        Path | None, typer.Argument(help="A folder of new good images.", metavar="[NEW_GOOD]", show_default=False)
    ] = None,
    *,
    good: options.Good = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The folder for the new version.", metavar="DIR", show_default="the model's own folder"),
    ] = None,
    max_score: Annotated[
        float | None,
        typer.Option(
            help="Leave out new images with a score above this.", metavar="SCORE", show_default="all are taken"
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="A pattern that finds the part in a new image's name.",
            metavar="REGEX",
            show_default="near-duplicates show one part",
        ),
    ] = None,
    false_alarm_rate: Annotated[float | None, options.rate_option("the model's own stays")] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Put back the version before the last update or training.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(help="With --undo: which version.", metavar="VERSION", show_default="the one replaced last"),
    ] = None,
    device: options.Device = "auto",
    _verbose: options.Verbose = False,
) -> None:
    """Take new good images into a model, change its rate, or go back; alone, show its history."""
    _check_together(new_good, false_alarm_rate, undo=undo, only_images=[output, max_score, group_by], to=to)
    if undo:
        _undo(model, to)
    elif new_good is not None:
        from blemish.cli.progress import show_progress
        from blemish.updating import update as update_model

        with show_progress() as progress:
            report = update_model(
                model,
                new_good,
                good_folders=good or (),
                output=output,
                max_score=max_score,
                group_by=group_by,
                false_alarm_rate=false_alarm_rate,
                device=device,
                progress=progress,
            )
        _tell(report)
    elif false_alarm_rate is not None:
        _change_rate(model, false_alarm_rate)
    else:
        _show_history(model)


def _check_together(
    new_good: Path | None, rate: float | None, *, undo: bool, only_images: list[object], to: str | None
) -> None:
    if undo and (new_good is not None or rate is not None or any(each is not None for each in only_images)):
        raise UsageError("--undo goes alone, or with --to VERSION.")
    if to is not None and not undo:
        raise UsageError("--to is for --undo; the folder of a new model is --output.")
    if new_good is None and any(each is not None for each in only_images):
        raise UsageError("--output, --max-score and --group-by need a folder of new good images: MODEL NEW_GOOD.")


def _tell(report: UpdateReport) -> None:
    """Warnings and promises on stderr; on stdout what changed, and the folder."""
    from blemish.cli.results import SOME_FAILED

    for line in [*report.failed, *report.lines]:
        say(f"blemish: {line}")
    if report.record is not None:
        _print_change(report.record)
    typer.echo(str(report.folder))
    if report.failed:
        raise typer.Exit(SOME_FAILED)


def _print_change(record: UpdateInfo) -> None:
    typer.echo(f"new images: {record.images}, of {record.parts} parts")
    if record.size is not None:
        typer.echo(f"rows: {record.size[0]} -> {record.size[1]}")
    typer.echo(f"threshold: {record.threshold[0]:.3f} -> {record.threshold[1]:.3f}")
    typer.echo(f"false alarms among them: {record.false_alarms[0]} -> {record.false_alarms[1]}")


def _change_rate(model: str, rate: float) -> None:
    from blemish.models import load_model, set_false_alarm_rate

    infos = load_model(model).info, set_false_alarm_rate(model, rate)
    before, after = (info.calibration.loaded() for info in infos)
    say(f"blemish: {after.statement()}")
    typer.echo(f"false-alarm rate: {before.false_alarm_rate:g} -> {after.false_alarm_rate:g}")
    typer.echo(f"threshold: {before.threshold():.3f} -> {after.threshold():.3f}")


def _undo(model: str, version: str | None) -> None:
    from blemish.models import bring_back

    present = bring_back(model, version)
    typer.echo(f"{present.folder} is version {present.info.version[:12]} again: {present.info.data.images} images")


def _show_history(model: str) -> None:
    from blemish.models import kept_versions, load_model

    loaded = load_model(model)
    for record in loaded.info.history or []:
        typer.echo(
            f"{record.when}  {record.images} images from {record.folder} into version {record.version_before[:12]}, "
            f"false alarms among them {record.false_alarms[0]} -> {record.false_alarms[1]}"
        )
    typer.echo(f"now: version {loaded.info.version[:12]}, {loaded.info.data.images} images")
    typer.echo(f"kept: {', '.join(kept_versions(model)) or 'none'}")
