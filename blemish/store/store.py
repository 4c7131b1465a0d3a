"""Every inspection, in a database that loses none that was answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO, get_args

import numpy as np

from blemish.errors import StoreError, UsageError
from blemish.models.files import sync_folder
from blemish.store.blobs import Blobs
from blemish.store.database import Database, open_database
from blemish.store.exports import write_csv, write_parquet
from blemish.store.group_commit import GroupCommit
from blemish.store.inspection import Filter, Inspection, Retention, Review
from blemish.store.jobs import Jobs
from blemish.store.outbox import Outbox
from blemish.store.recording import storable, write_patiently
from blemish.store.retention import collect, forget
from blemish.store.reviews import write_review
from blemish.store.rows import conditions, from_row
from blemish.store.schema import migrate
from blemish.store.settings import Settings
from blemish.store.tokens import Tokens
from blemish.store.trends import Bucket, Counts, Scores, buckets

if TYPE_CHECKING:
    import sqlalchemy as sa

_PAGE = 1000  # rows read at once for an export


class Store:
    """The inspections, and what the service keeps beside them. A context manager, for calls from any thread."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self.blobs = blobs
        self.tokens = Tokens(database)
        self.settings = Settings(database)
        self.jobs = Jobs(database)
        self.outbox = Outbox(database)
        self._database = database
        self._writer: GroupCommit[Inspection] = GroupCommit(lambda group: write_patiently(database, group))

    def record(self, inspections: Sequence[Inspection]) -> list[int]:
        """Their ids, once they are on the disk: all of them or, with an error, none.

        Of those that were recorded before under the same `request_id`, the id of that time. Raises `UsageError` for a
        time without zone and a score that is not finite, `StoreError` where the database does not take them.
        """
        return self.submit(inspections).result()

    def submit(self, inspections: Sequence[Inspection]) -> Future[list[int]]:
        """`record` without waiting for the disk: the future ends then. What comes together shares one commit."""
        return self._writer.submit([storable(inspection) for inspection in inspections])

    def get(self, id: int) -> Inspection | None:
        """An inspection by its id."""
        found = self.find(None, before=id + 1, limit=1)
        return found[0] if found and found[0].id == id else None

    def find(self, filter: Filter | None = None, before: int | None = None, limit: int = 50) -> list[Inspection]:
        """The newest first; the next page begins before the last id of this one."""
        import sqlalchemy as sa

        from blemish.store.tables import INSPECTIONS

        query = sa.select(INSPECTIONS).where(*conditions(filter)).order_by(INSPECTIONS.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(INSPECTIONS.c.id < before)
        with self._database.reading() as connection:
            return [from_row(row) for row in connection.execute(query)]

    def neighbours(self, id: int, filter: Filter | None = None) -> tuple[int | None, int | None]:
        """The next newer and the next older id in a choice, which need not hold the inspection itself."""
        import sqlalchemy as sa

        from blemish.store.tables import INSPECTIONS

        key = INSPECTIONS.c.id
        query = sa.select(key).where(*conditions(filter)).limit(1)
        with self._database.reading() as connection:
            newer = connection.execute(query.where(key > id).order_by(key)).scalar()
            older = connection.execute(query.where(key < id).order_by(key.desc())).scalar()
        return newer, older

    def review(self, ids: Sequence[int], review: Review | None, by: str, note: str | None = None) -> int:
        """What an operator says of verdicts, None takes it back; returns how many of the ids there are.

        Raises `UsageError`, with nothing changed, for another word and for one that a verdict rules out: only an
        anomaly can be a false alarm, only what was judged normal a missed defect.
        """
        return write_review(self._database, ids, review, by, note)

    def counts(self, filter: Filter | None = None) -> Counts:
        """How many there are, by verdict and review."""
        import sqlalchemy as sa

        from blemish.store.tables import INSPECTIONS

        columns = INSPECTIONS.c
        query = sa.select(columns.is_anomalous, columns.review, sa.func.count()).where(*conditions(filter))
        with self._database.reading() as connection:
            rows = connection.execute(query.group_by(columns.is_anomalous, columns.review)).all()
        by_review = {review: sum(n for _, r, n in rows if r == review) for review in get_args(Review)}
        return Counts(
            total=sum(n for _, _, n in rows),
            anomalous=sum(n for odd, _, n in rows if odd),
            unreviewed_anomalous=sum(n for odd, review, n in rows if odd and review is None),
            false_alarms=by_review["false_alarm"],
            missed_defects=by_review["missed_defect"],
            confirmed=by_review["confirmed"],
        )

    def trend(self, filter: Filter | None = None, bucket: timedelta | None = None, last: int = 20_000) -> list[Bucket]:
        """The last so many inspections in stretches of time, oldest first, without the empty ones.

        Without `bucket`, the stretches are chosen so that there are about fifty.
        """
        from blemish.store.tables import INSPECTIONS

        if bucket is not None and bucket <= timedelta(0):
            raise UsageError("a stretch of time is longer than nothing")
        columns = INSPECTIONS.c
        rows = self._last(filter, last, columns.time, columns.score, columns.p_value, columns.is_anomalous)
        scores = np.array([row.score for row in rows], np.float64)  # (n,)
        p_values = np.array([np.nan if row.p_value is None else row.p_value for row in rows], np.float64)
        is_anomalous = np.array([row.is_anomalous for row in rows], np.bool_)
        return buckets([row.time for row in rows], scores, p_values, is_anomalous, bucket)

    def scores(self, model: str, last: int = 1000, version: str | None = None) -> Scores:
        """Scores and verdicts of the last so many inspections of a model."""
        from blemish.store.tables import INSPECTIONS

        columns = INSPECTIONS.c
        rows = self._last(Filter(model=model, version=version), last, columns.score, columns.is_anomalous)
        return Scores(np.array([row[0] for row in rows], np.float64), np.array([row[1] for row in rows], np.bool_))

    def model_names(self) -> list[str]:
        """The names of the models that there are inspections of."""
        import sqlalchemy as sa

        from blemish.store.tables import INSPECTIONS

        with self._database.reading() as connection:
            return sorted(connection.execute(sa.select(INSPECTIONS.c.model).distinct()).scalars())

    def models(self) -> list[tuple[str, str]]:
        """The (model, version) pairs that there are inspections of."""
        import sqlalchemy as sa

        from blemish.store.tables import INSPECTIONS

        query = sa.select(INSPECTIONS.c.model, INSPECTIONS.c.version).distinct()
        with self._database.reading() as connection:
            return sorted((model, version) for model, version in connection.execute(query))

    def export_csv(self, filter: Filter | None, stream: TextIO) -> int:
        """Write the chosen inspections as CSV, oldest first; returns how many."""
        return write_csv(self._oldest_first(filter), stream)

    def export_parquet(self, filter: Filter | None, path: Path) -> int:
        """Write the chosen inspections as Parquet, oldest first; needs `blemish[parquet]`; returns how many."""
        return write_parquet(self._oldest_first(filter), path)

    def retain(self, policy: Retention, now: datetime | None = None) -> int:
        """Forget what the policy says, with the files that nothing refers to any more; returns how many."""
        forgotten = forget(self._database, policy, now or datetime.now(timezone.utc))
        collect(self._database, self.blobs)
        return forgotten

    def check(self) -> list[str]:
        """What is wrong with the store, one line each: the database's own check, missing or damaged files."""
        problems = []
        if self._database.is_sqlite:
            with self._database.reading() as connection:
                answers = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            problems += [f"database: {answer}" for answer in answers if answer != "ok"]
        seen: set[str] = set()
        for inspection in self._oldest_first(None):
            names = {inspection.image_hash, inspection.thumbnail_hash, inspection.map_hash} - {None} - seen
            seen.update(str(name) for name in names)
            problems += [f"inspection {inspection.id}: {reason}" for reason in self._unreadable(names)]
        return problems

    @property
    def is_shared(self) -> bool:
        """Whether it lies on a database server, where other services may use it too."""
        return not self._database.is_sqlite

    def ping(self) -> None:
        """Raise `StoreError` unless the database answers; for a readiness probe."""
        with self._database.reading() as connection:
            connection.exec_driver_sql("SELECT 1")

    def close(self) -> None:
        """End after what was submitted is on the disk."""
        self._writer.close()
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _last(self, filter: Filter | None, last: int, *columns: sa.Column[Any]) -> list[Any]:
        """These columns of the last so many, newest first."""
        import sqlalchemy as sa

        from blemish.store.tables import INSPECTIONS

        query = sa.select(*columns).where(*conditions(filter)).order_by(INSPECTIONS.c.id.desc()).limit(last)
        with self._database.reading() as connection:
            return list(connection.execute(query).all())

    def _oldest_first(self, filter: Filter | None) -> Iterator[Inspection]:
        """All, read page by page, so that neither memory nor a lock is held meanwhile."""
        import sqlalchemy as sa

        from blemish.store.tables import INSPECTIONS

        query = sa.select(INSPECTIONS).where(*conditions(filter)).order_by(INSPECTIONS.c.id).limit(_PAGE)
        last = 0
        while True:
            with self._database.reading() as connection:
                page = [from_row(row) for row in connection.execute(query.where(INSPECTIONS.c.id > last))]
            if not page:
                return
            yield from page
            last = page[-1].id

    def _unreadable(self, names: set[str | None]) -> Iterator[str]:
        for name in sorted(str(name) for name in names):
            try:
                self.blobs.get(name)
            except StoreError as error:
                yield str(error)


def open_store(url: str | None, folder: Path) -> Store:
    """The store of an output folder, made or brought up to date first.

    `url` is None for SQLite in `folder/store.db`, or `sqlite:///PATH`, or `postgresql://USER@HOST/NAME`. Images and
    maps lie in `folder/blobs` in any case. Raises `StoreError` for a database that cannot be used or that a newer
    Blemish wrote, `UsageError` for another URL and without `blemish[serve]`.
    """
    blobs = Blobs(folder / "blobs")
    try:
        blobs.folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise StoreError(f"the store's folder {folder} cannot be made: {error.strerror}") from error
    database = open_database(url, folder)
    try:
        migrate(database)
    except Exception:
        database.close()
        raise
    return Store(database, blobs)
