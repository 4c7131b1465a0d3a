"""A hot folder: every image that appears is scored once, when it is complete, through any number of restarts."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import filterfalse, groupby
from pathlib import Path, PurePosixPath
from threading import Event

from blemish.errors import DatasetError, UsageError
from blemish.images import ImageRef, expand, file_names, is_image_name, left_out_kind, left_out_line
from blemish.pipeline.journal import Answer, Journal, Version
from blemish.pipeline.predictor import Predictor
from blemish.pipeline.result import Result

log = logging.getLogger("blemish")

_LONGEST = 24 * 3600  # seconds between two looks
_AT_ONCE = 256  # images scored between two looks at the folder
_LONG, _ROUND = 3600 * 10**9, 16  # nanoseconds after which a file is settled; a settled one is looked at so rarely
_BROKEN = "failed"  # the folder below --move for what could not be read


@dataclass(frozen=True)
class Watch:
    """How a folder is watched.

    It is looked at every `interval` seconds. A file is complete when it stayed the same between two looks, or was
    changed more than two intervals ago, and can be decoded; one that stays broken for `patience` seconds is answered
    with its error. Answered images go below `move`, sub-folders kept, those that failed below `move/failed`. Results
    are saved below `save_path`. Neither folder is watched where it lies inside of the watched one.
    """

    folder: Path
    interval: float = 1.0
    patience: float = 10.0
    once: bool = False
    move: Path | None = None
    save_path: Path | None = None

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise DatasetError(f"{self.folder} is not a folder that can be watched")
        if not (0 < self.interval <= _LONGEST and self.patience >= 0):
            raise UsageError(f"the interval is more than 0 seconds and {_LONGEST} at most, the patience 0 or more")
        for place in (self.move, self.save_path):
            if place is not None and self.folder.resolve().is_relative_to(place.resolve()):
                raise UsageError(f"{place} contains the watched folder {self.folder}; name another folder")


class HotFolder:
    """The images of a folder, answered one by one: `run` until `stopped` is set, or until all are answered."""

    def __init__(
        self, watch: Watch, predictor: Predictor, journal: Journal, text_of: Callable[[Sequence[Result]], str]
    ) -> None:
        self._watch, self._predictor, self._journal, self._text_of = watch, predictor, journal, text_of
        self._missing = False
        self._folder = watch.folder.resolve()
        self._passed_over: set[str] = set()  # files that are no images, looked at once
        self._looks, self._settled = 0, 0
        self._answered = journal.versions()  # asked once, since there may be thousands
        self._seen: dict[str, tuple[Version, float]] = {}  # what is not answered yet, and since when it is as it is

    def run(self, say: Callable[[str, bool], None], stopped: Event) -> int:
        """Give every answer to `say`, with whether it is a failure; returns how many failed."""
        failed = 0
        for answer in self._answers(stopped):
            say(answer.text, answer.failed)
            self._journal.mark_said(answer.version)
            self._move_away(answer)
            failed += answer.failed
        return failed

    def _answers(self, stopped: Event) -> Iterator[Answer]:
        yield from self._journal.unsaid()
        while not stopped.is_set():
            answered = False
            for answer in self._scored(self._look()):
                answered = True
                yield answer
                if stopped.is_set():
                    return
            if self._watch.once and not self._seen:
                return
            if not answered:
                stopped.wait(self._watch.interval)

    def _look(self) -> list[Version]:
        """The complete images that have no answer, the oldest first; remembers what is still to come."""
        now = time.monotonic()
        self._settled = time.time_ns() - _LONG
        self._tell_if_missing()
        present: dict[str, tuple[Version, float]] = {}
        for version in self._unanswered():
            before = self._seen.get(version.path)
            present[version.path] = before if before is not None and before[0] == version else (version, now)
        self._seen = present
        complete = [version for version, since in present.values() if self._is_still(version, now - since)]
        return sorted(complete, key=lambda version: (version.changed, version.path))[:_AT_ONCE]

    def _tell_if_missing(self) -> None:
        """A share that goes away is waited for; that is said once."""
        missing = not self._folder.is_dir()
        if missing and not self._missing:
            log.warning("%s cannot be read; waiting for it", self._folder)
        self._missing = missing

    def _unanswered(self) -> Iterator[Version]:
        """The images that have no answer as they are; lets go of those that are gone, and finishes moves."""
        own = [place.resolve() for place in (self._watch.move, self._watch.save_path) if place is not None]
        left_out = Counter[str]()
        shown: dict[str, int] = {}  # answered files by their folder
        for parent, names in file_names(self._folder):
            if any(Path(parent).is_relative_to(place) for place in own):
                continue
            paths = [os.path.join(parent, name) for name in names]  # noqa: PTH118 - thousands, at every look
            shown[parent] = sum(map(self._answered.__contains__, paths))
            for path in filterfalse(self._rests, paths):
                answered = self._answered.get(path)
                version = _version(path) if answered or is_image_name(path) else None
                if version is not None and version == answered:
                    self._finish_move(version)
                elif version is not None:
                    yield version
                else:
                    left_out.update(self._kind_of(path))
        if left_out:
            log.warning("%s: left out: %s", self._watch.folder, left_out_line(left_out))
        if sum(shown.values()) < len(self._answered):
            self._let_go(shown)
        self._looks += 1

    def _rests(self, path: str) -> bool:
        """Whether a file can be left alone at this look: it was answered, and has not changed for long."""
        answered = self._answered.get(path)
        if answered is None or answered.changed > self._settled:
            return False
        return bool((hash(path) + self._looks) % _ROUND) and self._looks > 0

    def _kind_of(self, path: str) -> list[str]:
        """What is said of a file that is no image, the first time that it is seen."""
        if is_image_name(path) or path in self._passed_over:
            return []
        self._passed_over.add(path)
        return list(filter(None, [left_out_kind(Path(path))]))

    def _let_go(self, shown: dict[str, int]) -> None:
        """Forget the answers of files that are gone.

        A folder that shows none of its files any more may be a share that is away, and these come back: their answers
        stay, but where the folder itself is gone and others are not.
        """
        if not any(shown.values()):
            return
        gone = [
            version
            for path, version in self._answered.items()
            if (shown.get(os.path.dirname(path)) or _is_gone(os.path.dirname(path))) and _is_gone(path)  # noqa: PTH120
        ]
        self._journal.forget(gone)
        for version in gone:
            del self._answered[version.path]

    def _is_still(self, version: Version, seconds: float) -> bool:
        """Whether nobody seems to write to it: seen unchanged for an interval, or changed long ago."""
        quiet = time.time() - version.changed / 1e9
        return seconds >= self._watch.interval or quiet > 2 * self._watch.interval

    def _scored(self, ready: list[Version]) -> Iterator[Answer]:
        """Answers of what can be decoded, or has been broken for too long; pages of one file are one answer."""
        by_path = {str(self._watch.folder / self._inside(version.path)): version for version in ready}
        refs = (self._named(ref) for path in by_path for ref in expand(path, self._predictor.limits))
        for path, pages in groupby(self._predictor.predict_refs(refs), lambda result: str(result.input_path)):
            version, results = by_path[path], list(pages)
            if _version(version.path) != version:
                continue  # changed or gone while it was read; the next look finds it as it is
            failed = any(result.error is not None for result in results)
            if failed and time.monotonic() - self._seen[version.path][1] < self._watch.patience:
                continue
            yield self._recorded(version, results, failed)

    def _inside(self, path: str) -> Path:
        """A file's place in the folder."""
        return Path(path).relative_to(self._folder)

    def _named(self, ref: ImageRef) -> ImageRef:
        """With a name that keeps the suffix in its stem: `a.png` and `a.jpg` stay apart through restarts."""
        path = Path(str(ref.input_path)).relative_to(self._watch.folder)
        return replace(ref, name=PurePosixPath(path.with_name(path.name + path.suffix).as_posix()))

    def _recorded(self, version: Version, results: list[Result], failed: bool) -> Answer:
        if self._watch.save_path is not None:
            for result in results:
                result.save_all(self._watch.save_path)
        answer = Answer(version, self._text_of(results), failed)
        self._journal.record(answer)
        self._answered[version.path] = version
        self._seen.pop(version.path, None)
        return answer

    def _finish_move(self, version: Version) -> None:
        """A move that an earlier process did not get to."""
        answer = self._journal.answer_of(version) if self._watch.move is not None else None
        if answer is not None:
            self._move_away(answer)

    def _move_away(self, answer: Answer) -> None:
        if self._watch.move is None or _version(answer.version.path) != answer.version:
            return
        source = Path(answer.version.path)
        place = self._watch.move / _BROKEN if answer.failed else self._watch.move
        target = _free(place / self._inside(answer.version.path))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, target)
        except OSError as error:
            raise UsageError(f"{source} cannot be moved to {target}: {error.strerror or error}") from error
        self._journal.forget([answer.version])
        self._answered.pop(answer.version.path, None)


def _version(path: str) -> Version | None:
    """What the file system says of a file; None where it is gone."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of thousands, at every look
    except OSError:
        return None
    return Version(path, status.st_size, status.st_mtime_ns)


def _is_gone(path: str) -> bool:
    """Whether the file system says that there is no such file or folder; False where it cannot tell."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _free(path: Path) -> Path:
    """The path, or the first numbered one that no file has."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_stem(f"{path.stem}_{number}")
    return free
