"""The inspections as tables for other programs: CSV and Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from blemish.errors import StoreError, UsageError, install_command
from blemish.models.files import sibling
from blemish.store.inspection import Inspection

if TYPE_CHECKING:
    import pyarrow

COLUMNS = tuple(Inspection.__dataclass_fields__)
_FREE_TEXTS = ("source", "part", "note", "reviewed_by", "model", "request_id")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_ROWS = 10_000  # in one group of a Parquet file


def write_csv(inspections: Iterable[Inspection], stream: TextIO) -> int:
    """Write a header and one row each, regions as JSON; returns how many.

    A free text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for inspection in inspections:
        record = inspection.to_dict()
        record["regions"] = json.dumps(record["regions"])
        for name in _FREE_TEXTS:
            if (record[name] or "").startswith(_FORMULA):
                record[name] = "'" + record[name]
        writer.writerow([record[name] for name in COLUMNS])
        count += 1
    return count


def write_parquet(inspections: Iterable[Inspection], path: Path) -> int:
    """Write a Parquet file, whole or not at all, regions as JSON text; returns how many rows it has.

    Raises `UsageError` without `blemish[parquet]`, `StoreError` where the file cannot be written.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise UsageError(f"Parquet needs pyarrow: {install_command('parquet')}") from None
    schema, temporary, rows = _schema(), sibling(path, ".part"), 0
    try:
        with parquet.ParquetWriter(temporary, schema) as writer:
            for records in _portions(inspections):
                writer.write_table(pa.Table.from_pylist(records, schema))
                rows += len(records)
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _portions(inspections: Iterable[Inspection]) -> Iterator[list[dict[str, Any]]]:
    """Records, as many at once as one group of rows holds."""
    rest = iter(inspections)
    while portion := list(islice(rest, _ROWS)):
        yield [{**vars(one), "regions": json.dumps([dict(region) for region in one.regions])} for one in portion]


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    kinds = {"id": pa.int64(), "time": moment, "reviewed_at": moment, "is_anomalous": pa.bool_()}
    kinds |= {name: pa.int32() for name in ("page_index", "part_images", "width", "height")}
    numbers = (
        "score",
        "threshold",
        "p_value",
        "pixel_threshold",
        "part_threshold",
        "brightness",
        "focus",
        "shift_x",
        "shift_y",
    )
    kinds |= {name: pa.float64() for name in numbers}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
