"""The check of a data set, as a verb and as the run file's mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blemish.cli import options
from blemish.cli.logs import say
from blemish.errors import UsageError
from blemish.sample_range import FULL, SampleRange

if TYPE_CHECKING:
    from blemish.config import RunConfig


def check(
    data: Annotated[Path, typer.Argument(help="A data set: MVTec-style, with lists, or good images.", metavar="DIR")],
    output: options.Output = Path("output/check"),
    good: options.Good = None,
    leave_out: options.LeaveOut = None,
    _verbose: options.Verbose = False,
) -> None:
    """Find what is wrong with a data set; exit code 1 if there are errors."""
    _check(data, output, FULL, good or (), options.names_left_out(leave_out))


def check_as_configured(config: RunConfig) -> None:
    """Convert and split if the run file says so, then check."""
    if config.Global.dataset_dir is None:
        raise UsageError("Global.dataset_dir is missing: the data set (-o Global.dataset_dir=...).")
    data = Path(config.Global.dataset_dir)
    if config.CheckDataset.convert.enable:
        data = _converted(data, config)
    if config.CheckDataset.split.enable:
        _split(data, config)
    chosen = config.Global.good, config.Global.leave_out
    _check(data, Path(config.Global.output), config.Model.bit_depth, *chosen)


def _converted(data: Path, config: RunConfig) -> Path:
    """The folder of the converted data set: MVTec folders get lists where they are, as in PaddleX."""
    from blemish.datasets.conversion.convert import KINDS, convert, source_kind

    name = config.CheckDataset.convert.src_dataset_type
    if name is None:
        raise UsageError(f"CheckDataset.convert.src_dataset_type is missing: one of {', '.join(KINDS)}.")
    kind = source_kind(name)
    report = convert(data, kind, data if kind == "mvtec" else Path(config.Global.output) / "dataset")
    for line in (*report.warnings, *report.failed, *report.lines):
        say(line)
    say(f"Convert dataset successfully ! It is in {report.output}")
    return report.output


def _split(data: Path, config: RunConfig) -> None:
    from blemish.datasets.conversion.split import split

    percentages = config.CheckDataset.split
    if percentages.train_percent is None or percentages.val_percent is None:
        raise UsageError("CheckDataset.split needs both train_percent and val_percent.")
    for line in split(
        data, percentages.train_percent, percentages.val_percent, config.Global.seed, config.Global.good
    ).lines:
        say(line)
    say("Split dataset successfully !")


def _check(data: Path, output: Path, bit_depth: SampleRange, good: Sequence[str], leave_out: Sequence[str]) -> None:
    from blemish.checking import check_dataset
    from blemish.cli.findings import report_findings
    from blemish.cli.progress import show_progress

    with show_progress() as progress:
        report = check_dataset(data, output, progress, bit_depth=bit_depth, good=good, leave_out=leave_out)
    raise typer.Exit(report_findings(report))
