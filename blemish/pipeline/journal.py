"""What a watched folder has been answered: a small SQLite file that outlives the process, however it ends.

Each image is known by its path, size and time of change, so that a file that was overwritten counts as a new one. A
record is in the file before its line is printed, and marked after; no power of two programs makes these two one step.
So a process that is killed in between prints the very same line once more, and never loses or scores an image twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from blemish.errors import UsageError


class Version(NamedTuple):
    """One content of one file, as far as the file system tells: absolute path, bytes, nanoseconds of change."""

    path: str
    size: int
    changed: int


class Answer(NamedTuple):
    """What was said of a version: the text, and whether the image could be read."""

    version: Version
    text: str
    failed: bool


_FORMAT = 2
# texts are kept as bytes: a file's name need not be Unicode
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL,
    text BLOB NOT NULL, failed INTEGER NOT NULL, said INTEGER NOT NULL
) WITHOUT ROWID"""


class Journal:
    """The answers in a file; one process at a time may hold it. A context manager.

    Raises `UsageError` where the file cannot be written, is no journal, or is held by another process.
    """

    def __init__(self, path: Path) -> None:
        import sqlite3

        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=0.5, isolation_level=None)
            # the lock lasts as long as the process; a commit survives its death, and a power cut but for the last ones
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self._base.execute(f"PRAGMA {pragma}")
            (found,) = self._base.execute("PRAGMA user_version").fetchone()
            if found in (0, _FORMAT):
                self._base.execute(_TABLE)
                self._base.execute(f"PRAGMA user_version={_FORMAT}")
        except sqlite3.OperationalError as error:
            reason = "another watch uses it" if "locked" in str(error) else str(error)
            raise UsageError(f"the journal {path} cannot be used: {reason}; name another with --journal") from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise UsageError(f"{path} is no journal of a watch: {error}; name another with --journal") from error
        if found not in (0, _FORMAT):
            self._base.close()
            raise UsageError(f"{path} is the journal of another version of Blemish; name another with --journal")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def versions(self) -> dict[str, Version]:
        """What has been answered, by path."""
        rows = self._run("SELECT path, size, changed FROM answers")
        found = (Version(_text(path), size, changed) for path, size, changed in rows)
        return {version.path: version for version in found}

    def record(self, answer: Answer) -> None:
        """Keep an answer that is about to be said; it takes the place of that of an earlier version."""
        row = (*_row(answer.version), _bytes(answer.text), answer.failed)
        self._run("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, 0)", row)

    def mark_said(self, version: Version) -> None:
        """The answer has left the process."""
        self._run("UPDATE answers SET said = 1 WHERE path = ?", _row(version)[:1])

    def forget(self, versions: Iterable[Version]) -> None:
        """Files are gone from the folder; what comes in their place is new. What may not have been said is kept."""
        self._run("BEGIN")
        for version in versions:
            self._run("DELETE FROM answers WHERE path = ? AND said = 1", _row(version)[:1])
        self._run("COMMIT")

    def unsaid(self) -> list[Answer]:
        """What an earlier process recorded and may not have said."""
        rows = self._run("SELECT path, size, changed, text, failed FROM answers WHERE said = 0 ORDER BY path")
        return [
            Answer(Version(_text(path), size, changed), _text(text), bool(failed))
            for path, size, changed, text, failed in rows
        ]

    def answer_of(self, version: Version) -> Answer | None:
        """What was said of exactly this version."""
        rows = self._run("SELECT text, failed FROM answers WHERE path = ? AND size = ? AND changed = ?", _row(version))
        return Answer(version, _text(rows[0][0]), bool(rows[0][1])) if rows else None

    def _run(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query; a disk that refuses ends the watch, which could not tell any more what it has said."""
        import sqlite3

        try:
            return self._base.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise UsageError(f"the journal {self._path} cannot be used any more: {error}") from error


def _row(version: Version) -> tuple[bytes, int, int]:
    return _bytes(version.path), version.size, version.changed


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")
