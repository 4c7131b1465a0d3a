"""The headline of an evaluation as text: what is found at each false-alarm rate, of all defects and of each type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

if TYPE_CHECKING:
    from blemish.report import EvaluationReport, FoundAtRates


def found_lines(report: EvaluationReport) -> list[str]:
    """The table of rates, that of the types of defect if there are several, and what follows from them."""
    from blemish.report.words import blind_line, change_line, point_labels

    found = report.found
    labels = point_labels(found, report.threshold)
    lines = _table(_by_rate(found, labels))
    lines += [found.support] if found.support else []
    by_kind = _by_kind(found, labels)
    if len(by_kind) > 2:
        lines += ["", *_table(by_kind)]
    blind, change = blind_line(found), change_line(found)
    lines += [f"Blind: {blind}"] if blind else []
    if change is not None and found.change is not None:
        lines += [f"{change} To change the rate for good:", found.change.command]
    return lines


def _by_rate(found: FoundAtRates, labels: Sequence[str]) -> list[list[str]]:
    from blemish.report.words import share_text

    rows = [["false-alarm rate"], *([label] for label in labels)]
    for title, values in (
        (f"defective {found.noun}s found (95 %)", [point.found for point in found.points]),
        (f"false alarms, good {found.noun}s (95 %)", [point.false_alarms for point in found.points]),
    ):
        if any(value is not None for value in values):
            cells = [title, *("-" if value is None else share_text(value) for value in values)]
            rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
    marks = ["", *("in force" if point.in_force else "" for point in found.points)]
    return [[*row, mark] for row, mark in zip(rows, marks, strict=True)]


def _by_kind(found: FoundAtRates, labels: Sequence[str]) -> list[list[str]]:
    from blemish.report.words import bounds, printable

    kinds = found.points[0].kinds if found.points else {}
    rows = [["type of defect found at", *labels]]
    for kind in kinds:
        shares = [point.kinds[kind] for point in found.points]
        rows.append([printable(kind), *(f"{share.count} of {share.total} ({bounds(share)})" for share in shares)])
    return rows


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the columns below each other, letters of double width too."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _width(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
