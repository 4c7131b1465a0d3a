"""A run's folder: the records that describe its model, replaced, kept and brought back together with it.

The model lies in `best_model/inference`; `RECORDS` describe it. Both cannot be replaced by one rename. So the new
records wait in a stage, the old ones go there, the model is replaced, and the new ones come out. A crash on the way
leaves a folder without some records, never with wrong ones, and `settle` completes or undoes what was begun.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blemish.datasets.files import write_whole
from blemish.errors import ModelError
from blemish.models.files import sync_folder
from blemish.models.folder import load_model
from blemish.models.lock import locked

MODEL = Path("best_model") / "inference"
RESULT, RESULT_TWIN = "train_result.json", "train_results.json"
CONFIG, WEIGHTS = "config.yaml", "best_model/model.safetensors"
FAILURE = "train_failure.json"  # of a training that failed beside a model
RECORDS = (RESULT, RESULT_TWIN, CONFIG, WEIGHTS)  # in the order in which they go; they come in the reverse
KEPT_RECORDS = "run"  # the folder in a kept version that holds what lay beside it
DIGITS = 12  # of a version: enough to tell the versions of one model apart
_LOCK = ".training.lock"
_NEW, _OLD, _STAGE = "new", "old", ".run"


def run_of(folder: Path) -> Path | None:
    """The run's folder around a model folder, or None for a model that lies elsewhere."""
    place = Path(folder).absolute()  # links stay: what lies around them is the run
    return place.parent.parent if place.parts[-2:] == MODEL.parts else None


def read_result(run: Path) -> dict[str, Any]:
    """The content of `train_result.json`; empty where there is none, or no readable one."""
    try:
        record = json.loads((run / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def copy_records(source: Path, target: Path) -> None:
    """Copy the records that are in the folder `source` into the folder `target`."""
    for name in RECORDS:
        if (source / name).is_file():
            write_whole(target / name, (source / name).read_bytes(), synced=True)


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Refuse, with `BusyError`, to work in a folder in which another process trains or brings a version back.

    File systems without locks have none.
    """
    busy = f"another training is running in {run}: wait for its end, or take another --output"
    with locked(run / _LOCK, busy):
        yield


@contextmanager
def swapped(run: Path, version: str, write: Callable[[Path], None]) -> Iterator[None]:
    """Exchange the records, while the caller puts the model of this version (its first 12 digits) there.

    `write` puts the new records into a folder that it makes. If the caller fails, the old ones come back.
    """
    stage = run / f".{version}{_STAGE}"
    shutil.rmtree(stage, ignore_errors=True)
    try:
        write(stage / _NEW)
        for name in RECORDS:
            _move(run / name, stage / _OLD / name)
        yield
    finally:
        settle(run)


def _is_stage(path: Path) -> bool:
    """Whether a folder is one of ours, by its name."""
    return path.is_dir() and re.fullmatch(rf"\.[0-9a-f]{{{DIGITS}}}{re.escape(_STAGE)}", path.name) is not None


def settle(run: Path) -> None:
    """Complete an exchange that a crash has interrupted, if its model is there, or undo it."""
    for stage in filter(_is_stage, run.glob(f".*{_STAGE}")):
        is_there = _version_in(run) == stage.name[1 : -len(_STAGE)]
        for name in reversed(RECORDS):
            _move(stage / (_NEW if is_there else _OLD) / name, run / name)
        sync_folder(run)
        shutil.rmtree(stage)


def _version_in(run: Path) -> str:
    """The first digits of the version that is there; none where there is no readable one."""
    try:
        return load_model(run / MODEL).info.version[:DIGITS]
    except ModelError:
        return ""


def _move(source: Path, target: Path) -> None:
    if os.path.lexists(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
