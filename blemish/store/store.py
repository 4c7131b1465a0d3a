"""Every inspection, in a database that loses none that was answered."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TextIO

from blemish.store.blobs import Blobs
from blemish.store.inspection import Filter, Inspection, Retention, Review
from blemish.store.jobs import Jobs
from blemish.store.outbox import Outbox
from blemish.store.settings import Settings
from blemish.store.tokens import Tokens
from blemish.store.trends import Bucket, Counts, Scores


class Store:
    """The inspections, and what the service keeps beside them. A context manager; its calls may come from any thread."""

    blobs: Blobs
    tokens: Tokens
    settings: Settings
    jobs: Jobs
    outbox: Outbox

    def record(self, inspections: Sequence[Inspection]) -> list[int]:
        """Their ids, once they are on the disk: all of them or, with an error, none.

        Of those that were recorded before under the same `request_id`, the id of that time.
        """
        return self.submit(inspections).result()

    def submit(self, inspections: Sequence[Inspection]) -> Future[list[int]]:
        """`record` without waiting: the future ends when they are on the disk. What comes together shares one commit."""
        raise NotImplementedError

    def get(self, id: int) -> Inspection | None:
        """An inspection by its id."""
        raise NotImplementedError

    def find(self, filter: Filter | None = None, before: int | None = None, limit: int = 50) -> list[Inspection]:
        """The newest first; the next page begins before the last id of this one."""
        raise NotImplementedError

    def review(self, ids: Sequence[int], review: Review | None, by: str, note: str | None = None) -> int:
        """What an operator says of verdicts, None takes it back; returns how many of the ids there are."""
        raise NotImplementedError

    def counts(self, filter: Filter | None = None) -> Counts:
        """How many there are, by verdict and review."""
        raise NotImplementedError

    def trend(self, filter: Filter | None = None, bucket: timedelta | None = None, last: int = 100_000) -> list[Bucket]:
        """The last so many inspections in stretches of time, oldest first, without the empty ones.

        Without `bucket`, the stretches are chosen so that there are about fifty.
        """
        raise NotImplementedError

    def scores(self, model: str, last: int = 1000, version: str | None = None) -> Scores:
        """Scores and verdicts of the last so many inspections of a model."""
        raise NotImplementedError

    def models(self) -> list[tuple[str, str]]:
        """The (model, version) pairs that there are inspections of."""
        raise NotImplementedError

    def export_csv(self, filter: Filter | None, stream: TextIO) -> int:
        """Write the chosen inspections as CSV, oldest first; returns how many."""
        raise NotImplementedError

    def export_parquet(self, filter: Filter | None, path: Path) -> int:
        """Write the chosen inspections as Parquet, oldest first; needs `blemish[parquet]`; returns how many."""
        raise NotImplementedError

    def retain(self, policy: Retention, now: datetime | None = None) -> int:
        """Forget what the policy says, with the files that nothing refers to any more; returns how many."""
        raise NotImplementedError

    def check(self) -> list[str]:
        """What is wrong with the store, one line each: the database's own check, missing or damaged files."""
        raise NotImplementedError

    def ping(self) -> None:
        """Raise `StoreError` unless the database answers; for a readiness probe."""
        raise NotImplementedError

    def close(self) -> None:
        """End after what was submitted is on the disk."""
        raise NotImplementedError

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(url: str | None, folder: Path) -> Store:
    """The store of an output folder, made or brought up to date first.

    `url` is None for SQLite in `folder/store.db`, or `sqlite:///PATH`, or `postgresql://USER@HOST/NAME`. Images and maps lie
    in `folder/blobs` in any case. Raises `StoreError` for a database that cannot be used or that a newer Blemish
    wrote, `UsageError` for another URL and without `blemish[serve]`.
    """
    raise NotImplementedError
