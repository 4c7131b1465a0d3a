"""Figures on stdout, what a person has to know on stderr: one model, or a table of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from blemish.cli.found_at_rates import found_lines
from blemish.cli.logs import say
from blemish.cli.progress import show_progress
from blemish.cli.results import SOME_FAILED

if TYPE_CHECKING:
    from blemish.config import HpiConfig, RunConfig
    from blemish.report import EvaluationReport


def measure(
    model: str | Path,
    data: Path,
    output: Path,
    device: str,
    *,
    batch_size: int = 1,
    false_alarm_rate: float | None = None,
    threshold: float | None = None,
    engine: str | HpiConfig | None = None,
    good: Sequence[str] = (),
    group_by: str | None = None,
    leave_out: Sequence[str] = (),
) -> int:
    """Evaluate, print the figures and the place of the report; returns the exit code."""
    from blemish.evaluation import evaluate
    from blemish.report.words import headline

    with show_progress() as progress:
        report = evaluate(
            model,
            data,
            output,
            device,
            progress,
            batch_size=batch_size,
            false_alarm_rate=false_alarm_rate,
            threshold=threshold,
            engine=engine,
            good=good,
            group_by=group_by,
            leave_out=leave_out,
            say=say,
        )
    for remark in report.remarks:
        say(f"blemish: {'MIND: ' if remark.level == 'alarm' else ''}{remark.text}")
    say(" ".join(headline(report)))
    typer.echo("\n".join([*found_lines(report), "", _figures(report)]))
    typer.echo(str(output / "report.html"))
    failures = [*(str(image.error) for image in report.failed), *report.problems]
    for line in failures:
        say(f"blemish: {line}")
    return SOME_FAILED if failures else 0


def measure_all(root: Path, output: Path, configs: Mapping[str, RunConfig], category: str) -> int:
    """Bench, print the table; returns the exit code."""
    from blemish.benchmark import bench

    table = bench(root, output, configs, None if category == "all" else split_names(category), say)
    typer.echo(table.text())
    for line in table.failed:
        say(f"blemish: {line}")
    return SOME_FAILED if table.failed else 0


def split_names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _figures(report: EvaluationReport) -> str:
    """One line a metric, with its interval or the reason why it cannot be known; metrics of one reason share a line."""
    lines: list[str] = []
    unknown: dict[str, list[str]] = {}
    width = max(16, *(len(key) for key in report.metrics if not key.endswith("_ci95")))
    for key, value in report.metrics.items():
        if isinstance(value, float):
            interval = report.metrics.get(f"{key}_ci95")
            shown = f"  (95 %: {interval[0]:.4f} to {interval[1]:.4f})" if isinstance(interval, tuple) else ""
            lines.append(f"{key:<{width}}  {value:.4f}{shown}")
        elif key in report.not_computed:
            unknown.setdefault(report.not_computed[key], []).append(key)
    for reason, keys in unknown.items():
        lines.append(f"{keys[0]:<{width}}  -       {reason}" if len(keys) == 1 else f"{reason}: no {', '.join(keys)}")
    return "\n".join(lines)
