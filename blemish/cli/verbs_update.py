"""New good images for a model, its false-alarm rate, and the way back."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
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
    leave_out: options.LeaveOut = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="They are all good images of a period: let them calibrate.",
            show_default="learned, and the threshold stays",
        ),
    ] = False,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="With --calibrate: a pattern that finds an image's part.",
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
    """Take new good images into a model, change its rate, or go back; alone, show its history.

    Exit code 1 if some images could not be read.
    """
    only_images: list[object] = [output, group_by, leave_out, calibrate or None]
    _check_together(new_good, false_alarm_rate, undo=undo, only_images=only_images, to=to)
    if group_by is not None and not calibrate:
        raise UsageError("--group-by is for --calibrate: parts matter only for images that calibrate.")
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
                calibrate=calibrate,
                leave_out=options.names_left_out(leave_out),
                group_by=group_by,
                false_alarm_rate=false_alarm_rate,
                device=device,
                progress=progress,
            )
        _tell(report, model)
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
        raise UsageError(
            "--output, --leave-out, --calibrate and --group-by need a folder of new good images: MODEL NEW_GOOD."
        )


def _tell(report: UpdateReport, model: str) -> None:
    """Warnings and promises on stderr; on stdout what changed, and the folder."""
    from blemish.cli.results import SOME_FAILED

    for line in report.lines:  # the log has named what could not be read
        say(f"blemish: {line}")
    if report.outliers:
        from blemish.cli.leaving_out import command_without
        from blemish.models import find_model

        undo = f"blemish update {quote(model)} --undo" * (report.folder == find_model(model))
        if not report.are_mostly_apart:
            again = " && ".join(filter(None, [undo, command_without(report.outliers, report.unread)]))
            say(f"blemish: To update without what stands apart: {again}")
        elif undo:
            say(f"blemish: To take the update back: {undo}")
    if report.record is not None:
        _print_change(report.record)
    typer.echo(str(report.folder))
    if report.failed:
        raise typer.Exit(SOME_FAILED)


def _print_change(record: UpdateInfo) -> None:
    from blemish.metrics.rates import counted

    typer.echo(f"new images: {record.images}, of {counted(record.parts, 'part')}")
    if record.size is not None:
        typer.echo(f"rows: {record.size[0]} -> {record.size[1]}")
    stays = "" if record.calibrated else " (the calibration stays)"
    typer.echo(f"threshold: {record.threshold[0]:.3f} -> {record.threshold[1]:.3f}{stays}")
    typer.echo(f"false alarms among them, were they not known: {record.false_alarms[0]} -> {record.false_alarms[1]}")


def _change_rate(model: str, rate: float) -> None:
    from blemish.models import load_model, set_false_alarm_rate

    infos = load_model(model).info, set_false_alarm_rate(model, rate)
    before, after = (info.calibration.loaded() for info in infos)
    from blemish.updating.remarks import alarm_again

    for line in [after.statement(), *alarm_again(model, infos[1], after)]:
        say(f"blemish: {line}")
    typer.echo(f"false-alarm rate: {before.false_alarm_rate:g} -> {after.false_alarm_rate:g}")
    typer.echo(f"threshold: {before.threshold():.3f} -> {after.threshold():.3f}")


def _undo(model: str, version: str | None) -> None:
    from blemish.metrics.rates import counted
    from blemish.models import bring_back

    present = bring_back(model, version)
    typer.echo(
        f"{present.folder} is version {present.info.version[:12]} again: {counted(present.info.data.images, 'image')}"
    )


def _show_history(model: str) -> None:
    from blemish.metrics.rates import counted
    from blemish.models import kept_versions, load_model

    loaded = load_model(model)
    for record in loaded.info.history or []:
        how = "learned alone" if record.calibrated is False else "calibrating too"
        typer.echo(
            f"{record.when}  {counted(record.images, 'image')} from {record.folder} into version "
            f"{record.version_before[:12]}, {how}, "
            f"false alarms among them {record.false_alarms[0]} -> {record.false_alarms[1]}"
        )
    typer.echo(f"now: version {loaded.info.version[:12]}, {counted(loaded.info.data.images, 'image')}")
    typer.echo(f"kept: {', '.join(kept_versions(model)) or 'none'}")
