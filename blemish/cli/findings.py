"""The findings of a check as lines on stdout."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import typer

from blemish.metrics.rates import counted

if TYPE_CHECKING:
    from blemish.checking import CheckReport, Finding

ERRORS_FOUND = 1
MOST_LINES, MOST_FILES = 5, 4  # for each code; everything is in the JSON file


def report_findings(report: CheckReport) -> int:
    """Print findings, verdict and where the rest is; returns the exit code, 1 if there are errors."""
    shown: Counter[str] = Counter()
    totals = Counter(finding.code for finding in report.findings)
    for finding in report.findings:
        shown[finding.code] += 1
        if shown[finding.code] <= MOST_LINES:
            typer.echo(_line(finding))
        elif shown[finding.code] == totals[finding.code]:
            typer.echo(f"{finding.severity:8}{finding.code}: {totals[finding.code] - MOST_LINES} more")
    errors, warnings = _counted(report.errors, "error"), _counted(report.warnings, "warning")
    if report.passed:
        typer.echo(
            f"Check dataset passed ! {report.train_samples} training and {counted(report.val_samples, 'test image')}, "
            f"{warnings}."
        )
    else:
        typer.echo(f"Check dataset failed: {errors}, {warnings}.")
    typer.echo(f"All findings and pictures: {report.result}")
    return 0 if report.passed else ERRORS_FOUND


def _line(finding: Finding) -> str:
    names = ", ".join(map(_printable, finding.files[:MOST_FILES]))
    if len(finding.files) > MOST_FILES:
        names += f" and {len(finding.files) - MOST_FILES} more"
    return f"{finding.severity:8}{finding.code}: {names}{': ' if names else ''}{finding.message}"


def _printable(name: str) -> str:
    """A file's name without what a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def _counted(findings: tuple[Finding, ...], word: str) -> str:
    return counted(len(findings), word) if findings else f"no {word}s"
