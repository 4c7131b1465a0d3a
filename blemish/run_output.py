"""The output folder of a training: one training at a time, its log, and what an earlier one has left there.

A model that is there stays, with its records, until the new one is finished; then it is kept as an earlier version.
Checkpoints and log are moved out of the way when the new training begins. `docs/training.md` says what lies where.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from logging.handlers import MemoryHandler
from pathlib import Path
from shlex import quote
from typing import Any

from blemish.datasets.files import write_whole
from blemish.errors import UsageError
from blemish.models import (
    Before,
    ModelInfo,
    history_of,
    keep_before,
    keep_version,
    load_model,
    save_model,
    saving,
    version_of,
)
from blemish.models.run_folder import (
    CONFIG,
    DIGITS,
    FAILURE,
    KEPT_RECORDS,
    MODEL,
    RECORDS,
    RESULT,
    RESULT_TWIN,
    WEIGHTS,
    alone,
    read_result,
    settle,
    swapped,
)
from blemish.models.run_traces import INTERRUPTED, LOG, are_of_model, move_traces, remove, traces
from blemish.models.versions import megabytes, present_model, say_the_same
from blemish.training.checkpoints import checkpoints, remove_partial_checkpoints, run_of_checkpoint
from blemish.training.plan import new_run

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)  # what only writing is refused for

log = logging.getLogger("blemish")


class _LogFile:
    """The handler of `train.log`; what is said before the file is opened waits until then."""

    def __init__(self) -> None:
        self._handler = MemoryHandler(1 << 20, logging.CRITICAL + 1, flushOnClose=False)
        self._level = logging.NOTSET

    def open(self, path: Path, *, going_on: bool) -> None:
        target = logging.FileHandler(path, mode="a" if going_on else "w", encoding="utf-8")
        target.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._handler.setTarget(target)
        self._handler.flush()
        self._handler.capacity = 0

    def __enter__(self) -> None:
        self._level = log.level
        log.setLevel(min(self._level or logging.INFO, logging.INFO))
        log.addHandler(self._handler)

    def __exit__(self, *_error: object) -> None:
        log.removeHandler(self._handler)
        log.setLevel(self._level)
        target = self._handler.target
        self._handler.close()
        if target is not None:
            target.close()


@dataclass
class Output:
    """The folder while a training works in it.

    Attributes:
        folder: the run's folder.
        keeps: whether what was there before is kept; otherwise it is replaced.
    """

    folder: Path
    keeps: bool
    _log: _LogFile = field(default_factory=_LogFile)
    _kept: Path | None = None
    _kept_now: bool = False

    def begin(self, resume: Path | None) -> None:
        """Move away what belongs to other trainings than the one that begins, or goes on from `resume`."""
        remove_partial_checkpoints(self.folder)
        (self.folder / FAILURE).unlink(missing_ok=True)
        present = present_model(self.folder / MODEL)
        if present is not None and self.keeps:
            with saving(present.folder):
                present = load_model(present.folder)
                self._kept_now = not (history_of(present.folder) / present.info.version[:DIGITS]).exists()
                self._kept = keep_version(present)
        own = set() if resume is None else _going_on(self.folder, resume)
        self._put_aside([path for path in traces(self.folder) if path not in own])
        self._log.open(self.folder / LOG, going_on=bool(own))

    def finish(
        self,
        model: bytes,
        info: ModelInfo,
        good_patches: bytes | None,
        records: tuple[dict[str, Any], str, Callable[[Path], None] | None],
    ) -> list[str]:
        """Put the model and its records there; returns what a person should know of the model before.

        `records` are the content of `train_result.json`, that of `config.yaml`, and what writes the learned weights.
        """
        result, config, weights = records
        place, version = self.folder / MODEL, version_of(model, info, good_patches)[:DIGITS]
        with saving(place):
            present = present_model(place)
            same = present is not None and say_the_same(present, model, info)
            before = keep_before(place, model, info, self.folder) if self.keeps else Before()
            replaced = read_result(self.folder).get("replaced") if same else before.version
            result = {**result, "version": version, "replaced": replaced}
            with swapped(self.folder, version, partial(_write_records, result, config, weights)):
                save_model(place, model, info, good_patches)
        if same and self._kept_now and self._kept is not None:
            shutil.rmtree(self._kept)
        return [*before.lines]

    def _put_aside(self, paths: list[Path]) -> None:
        if not self.keeps:
            for path in paths:
                remove(path)
        elif self._kept is not None and are_of_model(self.folder, self._kept / KEPT_RECORDS):
            move_traces(paths, self._kept / KEPT_RECORDS)
        elif found := [path for path in paths if path in checkpoints(self.folder)]:
            place = self.folder / INTERRUPTED / (run_of_checkpoint(found[-1]) or new_run())
            move_traces(paths, place)
            newest = quote(str(place / found[-1].name))
            log.warning(
                f"Checkpoints of an interrupted training were moved to {place} ({megabytes(place)} MB, yours to "
                f"delete). To go on with that one: the same command with -o Train.resume_path={newest}"
            )
        else:  # a training that failed, or was killed, before its first checkpoint
            for path in paths:
                remove(path)


@contextmanager
def open_output(folder: Path, *, keeps: bool = True) -> Iterator[Output]:
    """The output folder, made if need be, for this training alone.

    Raises `UsageError` where another training is at work there, where a file stands in a folder's place or a folder in
    a file's, and where the disk refuses what is written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"the output folder {folder} cannot be made: a file stands in its place") from None
    except OSError as error:
        raise UsageError(f"the output folder {folder} cannot be written: {error.strerror}") from None
    _refuse_blocked(folder)
    with _refusals(folder), alone(folder):
        settle(folder)
        output = Output(folder, keeps)
        with output._log:
            yield output


def _refuse_blocked(folder: Path) -> None:
    """Before the work, what would fail after it."""
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the output folder {folder} cannot be written: no permission; take another --output")
    if (folder / "best_model").is_file():
        raise UsageError(f"the output folder {folder} cannot be written: best_model in it is a file")
    for name in (LOG, *RECORDS):
        if (folder / name).is_dir():
            raise UsageError(f"the output folder {folder} cannot be written: {name} in it is a folder")


@contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is not None and not Path(str(error.filename)).resolve().is_relative_to(folder.resolve()):
            raise  # of a file outside that is read
        if error.errno in _FULL:
            raise UsageError(f"the output folder {folder} cannot be written: {error.strerror}") from None
        raise UsageError(f"the system refuses {error.filename or 'to read or write'}: {error.strerror}") from None


def _going_on(folder: Path, resume: Path) -> set[Path]:
    """What is there of the training that goes on, without what it will write again."""
    found = checkpoints(folder)
    if not found or run_of_checkpoint(found[0]) != run_of_checkpoint(resume):
        return set()
    step = int(resume.name.removeprefix("iter_"))
    later = {path for path in found if int(path.name.removeprefix("iter_")) > step}
    return set(traces(folder)) - later


def _write_records(result: dict[str, Any], config: str, weights: Callable[[Path], None] | None, folder: Path) -> None:
    """The records of a new model; the result twice, since PaddleX's readers know it by two names."""
    text = json.dumps(result, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")
    for name, content in ((CONFIG, config.encode("utf-8", "backslashreplace")), (RESULT_TWIN, text), (RESULT, text)):
        write_whole(folder / name, content, synced=True)
    if weights is not None:
        weights(folder / WEIGHTS)
