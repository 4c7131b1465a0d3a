"""Long work that outlives a restart: training, updating, comparing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from blemish.store.database import Database

if TYPE_CHECKING:
    import sqlalchemy as sa

JobState: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]
OPEN: tuple[JobState, ...] = ("queued", "running")


@dataclass(frozen=True)
class Job:
    """One piece of work: its kind and parameters (JSON), how far it is, and what came of it (JSON)."""

    id: int
    kind: str
    parameters: Any
    state: JobState
    progress: float
    message: str
    result: Any
    created: datetime
    changed: datetime

    @property
    def is_open(self) -> bool:
        """Whether it waits or is at work."""
        return self.state in OPEN


class Jobs:
    """The jobs of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, kind: str, parameters: Any) -> int:
        """Queue a job; returns its id."""
        from blemish.store.tables import JOBS

        row = {"kind": kind, "parameters": parameters, "state": "queued", "progress": 0.0, "message": ""}
        insert = JOBS.insert().values(**row, created=_now(), changed=_now()).returning(JOBS.c.id)
        with self._database.writing() as connection:
            return int(connection.execute(insert).scalar_one())

    def get(self, id: int) -> Job | None:
        """A job by its id."""
        from blemish.store.tables import JOBS

        with self._database.reading() as connection:
            return _first(connection, _query().where(JOBS.c.id == id))

    def list(
        self, state: JobState | None = None, limit: int = 50, *, kinds: Sequence[str] = (), model: str | None = None
    ) -> list[Job]:
        """The newest jobs, newest first; of these `kinds` alone, and of those whose parameters name the `model`."""
        from blemish.store.tables import JOBS

        query = _query().order_by(JOBS.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(JOBS.c.state == state)
        if kinds:
            query = query.where(JOBS.c.kind.in_(kinds))
        if model is not None:
            query = query.where(JOBS.c.parameters["model"].as_string() == model)
        with self._database.reading() as connection:
            return [Job(*row) for row in connection.execute(query)]

    def claim(self, kind: str | None = None) -> Job | None:
        """The oldest queued job, now running and nobody else's; None where none waits."""
        from blemish.store.tables import JOBS

        query = _query().where(JOBS.c.state == "queued").order_by(JOBS.c.id).limit(1)
        query = query if kind is None else query.where(JOBS.c.kind == kind)
        with self._database.writing() as connection:
            job = _first(connection, query.with_for_update(skip_locked=True))  # SQLite has locked already
            if job is None:
                return None
            update = JOBS.update().where(JOBS.c.id == job.id).values(state="running", changed=_now())
            connection.execute(update)
            return _first(connection, _query().where(JOBS.c.id == job.id))

    def update(
        self,
        id: int,
        state: JobState | None = None,
        *,
        progress: float | None = None,
        message: str | None = None,
        result: Any = None,
    ) -> bool:
        """Change what is given; False where the job is already done, failed or cancelled."""
        from blemish.store.tables import JOBS

        given = {"state": state, "progress": progress, "message": message, "result": result}
        values = {name: value for name, value in given.items() if value is not None}
        update = JOBS.update().where(JOBS.c.id == id, JOBS.c.state.in_(OPEN)).values(**values, changed=_now())
        with self._database.writing() as connection:
            return bool(connection.execute(update).rowcount)

    def requeue_running(self) -> int:
        """At the start of the only worker: what a process that died left running is queued again."""
        from blemish.store.tables import JOBS

        update = JOBS.update().where(JOBS.c.state == "running").values(state="queued", changed=_now())
        with self._database.writing() as connection:
            return int(connection.execute(update).rowcount)


def _query() -> sa.Select[Any]:
    import sqlalchemy as sa

    from blemish.store.tables import JOBS

    return sa.select(*(JOBS.c[name] for name in Job.__dataclass_fields__))


def _first(connection: sa.Connection, query: sa.Select[Any]) -> Job | None:
    row = connection.execute(query).first()
    return None if row is None else Job(*row)


def _now() -> datetime:
    return datetime.now(timezone.utc)
