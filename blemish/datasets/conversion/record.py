"""The folder that a conversion fills: new, or left unfinished by the same conversion; nothing in it is overwritten."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blemish.datasets.files import read_json, remove_partials, write_whole
from blemish.errors import DatasetError

RECORD = "conversion.json"
_MOST_BYTES = 1 << 28


@dataclass
class ConvertReport:
    """What a conversion has made.

    Attributes:
        output: the folder that holds the converted data set.
        train_good, test_good: how many good images went where.
        defects: how many images of each type of defect went into the test set.
        warnings: what a person should know, with the names of the files.
        failed: one line for each image or annotation that was left out.
    """

    output: Path
    train_good: int = 0
    test_good: int = 0
    defects: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def count(self, split: str, kind: str) -> None:
        """Count one image more."""
        if kind != "good":
            self.defects[kind] = self.defects.get(kind, 0) + 1
        elif split == "train":
            self.train_good += 1
        else:
            self.test_good += 1

    @property
    def has_images(self) -> bool:
        """Whether any image was converted."""
        return bool(self.train_good or self.test_good or self.defects)

    @property
    def lines(self) -> list[str]:
        """The counts, for a person."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.defects.items())) or "none"
        return [
            f"images without a marked defect: {self.train_good} in train/good, {self.test_good} in test/good",
            f"images with defects, in test: {kinds}",
        ]


class Conversion:
    """Writes the files of one conversion and keeps its record.

    The record names the source by a fingerprint of its files' names, sizes and times, and says whether the conversion
    is finished. A second run of an unfinished one writes what is missing, a second run of a finished one nothing.
    """

    def __init__(self, source: Path, kind: str, output: Path) -> None:
        """Look at the output folder; raises `DatasetError` if it is anything but new, empty or this conversion's."""
        self.output = output
        self._identity = {"from": kind, "source": source.resolve().name, "fingerprint": _fingerprint(source)}
        _check_apart(source, output)
        self._record = self._find_record()

    def finished(self) -> ConvertReport | None:
        """What the finished conversion reported."""
        if not self._record.get("finished"):
            return None
        try:
            return ConvertReport(self.output, **self._record["report"])
        except (KeyError, TypeError):
            raise DatasetError(f"{self.output / RECORD} is damaged; name a new --output") from None

    def begin(self) -> None:
        """Mark the folder as this conversion's, before anything else is written."""
        write_whole(self.output / RECORD, _text({**self._identity, "finished": False}))
        remove_partials(self.output)

    def abandon(self) -> None:
        """Take back what `begin` has made, as long as nothing else is there."""
        if self.output.is_dir() and [child.name for child in self.output.iterdir()] == [RECORD]:
            (self.output / RECORD).unlink()
            self.output.rmdir()

    def write(self, name: str, content: bytes) -> None:
        """Write a file unless it is there already; a different one in its place is never overwritten."""
        file = self.output / name
        if not file.exists():
            write_whole(file, content)
        elif file.read_bytes() != content:
            raise DatasetError(f"{file} is there already and is not what this conversion makes; name a new --output")

    def finish(self, report: ConvertReport) -> ConvertReport:
        """Keep the report with the data."""
        stated = {key: value for key, value in asdict(report).items() if key != "output"}
        write_whole(self.output / RECORD, _text({**self._identity, "finished": True, "report": stated}))
        return report

    def _find_record(self) -> dict[str, Any]:
        if self.output.exists() and not self.output.is_dir():
            raise DatasetError(f"{self.output} is a file; name a new folder with --output")
        if not self.output.exists() or _is_empty(self.output):
            return {}
        try:
            record = read_json(self.output / RECORD, _MOST_BYTES)
        except DatasetError:
            record = None
        if not isinstance(record, dict) or any(record.get(key) != value for key, value in self._identity.items()):
            raise DatasetError(
                f"{self.output} exists and is no conversion of {self._identity['source']} as it is now; "
                "name a new folder with --output"
            )
        return record


def _check_apart(source: Path, output: Path) -> None:
    """One folder within the other would be read as a part of it."""
    here, there = source.resolve(), output.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise DatasetError(f"{output} and the source {source} overlap; name another folder with --output")


def _is_empty(folder: Path) -> bool:
    """Nothing in it, or only what a kill left of the first file."""
    return all(child.name.startswith(f".{RECORD}.") for child in folder.iterdir())


def _fingerprint(source: Path) -> str:
    """SHA-256 of the names, sizes and times of all files: equal as long as nobody touched them."""
    lines = []
    for parent, _, files in os.walk(source):
        for name in files:
            path = Path(parent, name)
            state = path.lstat()
            lines.append(f"{path.relative_to(source).as_posix()!r} {state.st_size} {state.st_mtime_ns}\n")
    return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def _text(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=2) + "\n").encode()
