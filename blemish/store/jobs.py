"""Long work that outlives a restart: training, updating, comparing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

JobState: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]


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


class Jobs:
    """The jobs of a store."""

    def add(self, kind: str, parameters: Any) -> int:
        """Queue a job; returns its id."""
        raise NotImplementedError

    def get(self, id: int) -> Job | None:
        """A job by its id."""
        raise NotImplementedError

    def list(self, state: JobState | None = None, limit: int = 50) -> list[Job]:
        """The newest jobs, newest first."""
        raise NotImplementedError

    def claim(self, kind: str | None = None) -> Job | None:
        """The oldest queued job, now running and nobody else's; None where none waits."""
        raise NotImplementedError

    def update(
        self,
        id: int,
        state: JobState | None = None,
        progress: float | None = None,
        message: str | None = None,
        result: Any = None,
    ) -> bool:
        """Change what is given; False where the job is already done, failed or cancelled."""
        raise NotImplementedError

    def requeue_running(self) -> int:
        """At the start of the only worker: what a process that died left running is queued again."""
        raise NotImplementedError
