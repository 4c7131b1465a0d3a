"""What work on a data set shares: staying inside of its root, progress, and errors without paths."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blemish.datasets import load_dataset
from blemish.errors import BlemishError, UsageError
from blemish.service.datasets import Source
from blemish.service.jobs.kinds import Tell

_LEAST_S = 0.5  # between two lines of progress
_WORTH_S = 5.0  # a stage that has taken so long tells how long it will take
_WORDS = {"images": "reading the images", "features": "looking at the images", "training": "learning"}


def described(source: Source) -> dict[str, str]:
    """The parameters of a job that reads it."""
    return {"key": source.key, "data": source.name, "folder": str(source.folder), "root": str(source.root)}


def check_inside(parameters: Mapping[str, Any], good: Sequence[str] = (), leave_out: Sequence[str] = ()) -> None:
    """Raise `UsageError` for a data set with a list or a link that leads out of its root."""
    root = Path(parameters["root"])
    _refuse_links(Path(parameters["folder"]), root)
    files = [name for name in leave_out if not name.endswith("]")]  # of a document some pages stay
    dataset = load_dataset(Path(parameters["folder"]), lambda _source, _line, _problem: None, good, files)
    for sample in (*dataset.train, *dataset.test):
        for path in (sample.path, *sample.masks):
            if not path.resolve().is_relative_to(root):
                raise UsageError(f"{Path(sample.name).name} leads out of the folders that the service may read")


def _refuse_links(folder: Path, root: Path) -> None:
    """`UsageError` for a link that leads out of the root, before anything is read through it."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise UsageError(f"{name} leads out of the folders that the service may read")


_OPTIONS = (
    (r"--good (\S+)", r"the setting Global.good=\1"),
    (r"-o '([^']+)'|-o (\S+=\S+)", r"the setting \1\2"),
    (r"train --group-by PATTERN \((\S+)\)", r"the setting \1"),
    (
        r"give good images of it: --holdout DIR",
        "train with good images of it held out: blemish train DIR --holdout DIR",
    ),
    (r"cover their session: --holdout DIR", "cover their session: blemish train DIR --holdout DIR"),
)


@contextmanager
def told_without_paths(parameters: Mapping[str, str]) -> Iterator[None]:
    """Errors with the data set's name in the place of the server's paths."""
    try:
        yield
    except BlemishError as error:
        raise UsageError(without_paths(str(error), parameters)) from error
    except OSError as error:
        raise UsageError(f"the disk refuses it: {error.strerror}") from error


def with_settings(text: str) -> str:
    """The text with settings of the page in the place of options of the command line, where there are such settings."""
    for option, setting in _OPTIONS:
        text = re.sub(option, setting, text)
    return text


def without_paths(text: str, parameters: Mapping[str, str]) -> str:
    """The text as pages may show it."""
    for key, shown in (("folder", parameters["data"]), ("root", ""), ("output", "output")):
        path = parameters.get(key)
        if path:
            text = text.replace(f"{path}/", "").replace(path, shown)
    return with_settings(text)


class Advance:
    """Progress as detectors report it, told now and then with the time that is left."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._stage, self._last = tell, "", 0.0
        self._began, self._first = 0.0, 0
        self.so_far: Any = None

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """`done` of `total` steps of a stage."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began, self._first = stage, now, done - 1
        elif now - self._last < _LEAST_S and done < total:
            return
        self._last = now
        told = [f"{_WORDS.get(stage, stage)}: {done} of {total}", detail, self._left(now, done, total)]
        self._tell(done / total if total else None, ", ".join(filter(None, told)), self.so_far)

    def _left(self, now: float, done: int, total: int) -> str:
        spent, steps = now - self._began, done - self._first
        if spent < _WORTH_S or steps < 1 or done >= total:
            return ""
        return f"about {in_words(spent * (total - done) / steps)} left"


def in_words(seconds: float) -> str:
    """`40 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
