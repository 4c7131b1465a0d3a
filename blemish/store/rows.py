"""Between inspections and rows, and which rows a filter chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blemish.store.inspection import Filter, Inspection

if TYPE_CHECKING:
    import sqlalchemy as sa


def to_row(inspection: Inspection) -> dict[str, Any]:
    """The columns of an inspection, without the id."""
    row = {name: getattr(inspection, name) for name in inspection.__dataclass_fields__ if name != "id"}
    row["regions"] = [dict(region) for region in inspection.regions]
    return row


def from_row(row: sa.Row[Any]) -> Inspection:
    """The inverse of `to_row`."""
    record = dict(row._mapping)
    record["regions"] = tuple(record["regions"])
    return Inspection(**record)


def clean(text: str | None) -> str | None:
    """A text that both databases keep: lone surrogates, of file names that are no UTF-8, and NUL become U+FFFD."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def conditions(filter: Filter | None) -> list[sa.ColumnElement[bool]]:
    """The filter as conditions on the table of inspections."""
    from blemish.store.tables import INSPECTIONS

    chosen, columns = filter or Filter(), INSPECTIONS.c
    found: list[sa.ColumnElement[bool]] = []
    for name in ("is_anomalous", "model", "version", "source", "part_key"):
        value = getattr(chosen, name)
        if value is not None:
            found.append(columns[name] == (clean(value) if isinstance(value, str) else value))
    if chosen.source_contains:
        found.append(columns.source.icontains(clean(chosen.source_contains), autoescape=True))
    if chosen.since is not None:
        found.append(columns.time >= chosen.since)
    if chosen.until is not None:
        found.append(columns.time < chosen.until)
    if chosen.review == "none":
        found.append(columns.review.is_(None))
    elif chosen.review == "any":
        found.append(columns.review.is_not(None))
    elif chosen.review is not None:
        found.append(columns.review == chosen.review)
    return found
