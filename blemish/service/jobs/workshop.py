"""The threads that take one queued job after another, and their child processes."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from blemish.errors import BlemishError, StoreError
from blemish.service.errors import ServiceError
from blemish.service.jobs.kinds import KINDS, Kind
from blemish.store import Job, JobState, Store

if TYPE_CHECKING:
    from blemish.service.core import Service

_POLL_S = 0.5  # how soon a new job, or that one was cancelled, is noticed
_LAST_LINES = 20  # of stderr, kept for the log

log = logging.getLogger("blemish.service")


class Workshop:
    """Works on the store's jobs. What a stop or a crash interrupts is queued again at the next start.

    A job is cancelled by its state in the store: `store.jobs.update(id, "cancelled")`. One thread takes every job, the
    other the quick ones alone.
    """

    def __init__(self, service: Service, store: Store) -> None:
        self._service, self._store = service, store
        self._ended = threading.Event()
        quick = [name for name, kind in KINDS.items() if kind.is_quick]
        self._threads = [
            threading.Thread(target=self._run, args=(kinds,), name="blemish-jobs", daemon=True)
            for kinds in ([None], quick)
        ]

    def start(self) -> None:
        """Begin, with what an earlier process left undone."""
        self._store.jobs.requeue_running()
        for job in self._store.jobs.list("cancelled"):  # between a stop and now, or while they waited to go on
            if job.kind in KINDS:
                KINDS[job.kind].clear(job.parameters)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Interrupt the job at work; it goes on at the next start."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, kinds: Sequence[str | None]) -> None:
        while not self._ended.is_set():
            try:
                claimed = (self._store.jobs.claim(kind) for kind in kinds)
                job = next((job for job in claimed if job is not None), None)
                if job is not None:
                    self._work(job)
                    continue
            except BlemishError as error:
                log.warning("the jobs cannot be worked on: %s", error)
            self._ended.wait(_POLL_S)

    def _work(self, job: Job) -> None:
        kind = KINDS.get(job.kind)
        if kind is None:
            self._store.jobs.update(job.id, "failed", message=f"this version of Blemish knows no job {job.kind}")
            return
        said = self._child(job)
        if said is None and self._ended.is_set():
            return  # it goes on at the next start
        if said is not None:
            self._finish(job, kind, said)
        kind.clear(job.parameters)

    def _finish(self, job: Job, kind: Kind, said: dict[str, Any]) -> None:
        """Put the result into use, or keep what went wrong."""
        try:
            if "error" in said:
                raise ServiceError(400, "job_failed", said["error"])
            result = kind.finish(self._service, job.parameters, said["result"])
        except (BlemishError, ServiceError) as error:
            message = error.detail if isinstance(error, ServiceError) else str(error)
            self._end(job, "failed", message=message)
            log.warning("job %d (%s) failed: %s", job.id, job.kind, message)
        except Exception:
            log.exception("job %d (%s) failed", job.id, job.kind)
            self._end(job, "failed", message="the service failed; its log says more")
        else:
            self._end(job, "done", progress=1.0, message="done", result=result)

    def _end(self, job: Job, state: JobState, **values: Any) -> None:
        """Write down what became of a job, as soon as the database takes it."""
        while True:
            try:
                self._store.jobs.update(job.id, state, **values)
                return
            except StoreError as error:
                log.warning("the end of job %d is not written down yet: %s", job.id, error)
                if self._ended.wait(_POLL_S):
                    return

    def _child(self, job: Job) -> dict[str, Any] | None:
        """What the child process said last; None where it was ended before."""
        command = [sys.executable, "-m", "blemish.service.jobs", job.kind]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, text=True, encoding="utf-8", **pipes) as process:  # type: ignore[call-overload]
            talk = _Talk(self._store, job, process)
            talk.start(json.dumps(job.parameters))
            while process.poll() is None:
                if self._ended.wait(_POLL_S) or talk.is_over():
                    process.kill()
                    talk.join()
                    return None
            talk.join()
        if talk.is_over():
            return None
        return talk.last or {"error": _untold(process.returncode)}


class _Talk:
    """Reads what a child says: progress goes to the store, errors to the log."""

    def __init__(self, store: Store, job: Job, process: subprocess.Popen[str]) -> None:
        self.last: dict[str, Any] = {}
        self._store, self._job, self._process = store, job, process
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._listen, self._complain)]

    def start(self, parameters: str) -> None:
        for thread in self._threads:
            thread.start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{parameters}\n")
            self._process.stdin.flush()  # it stays open: the child ends when nobody holds it

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def is_over(self) -> bool:
        """Whether somebody cancelled the job."""
        with suppress(BlemishError):  # a database that is away for a moment has cancelled nothing
            job = self._store.jobs.get(self._job.id)
            return job is None or job.state == "cancelled"
        return False

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            said = json.loads(line)
            if "progress" not in said:
                self.last = said
                continue
            with suppress(BlemishError):
                self._store.jobs.update(
                    self._job.id, progress=said["progress"], message=said["message"], result=said["so_far"]
                )

    def _complain(self) -> None:
        lines = deque(self._process.stderr or (), _LAST_LINES)
        if self._process.wait() > 0:
            log.warning("job %d (%s) said:\n%s", self._job.id, self._job.kind, "".join(lines).rstrip())


def _untold(code: int) -> str:
    """Why a child ended that said nothing of it."""
    if code < 0:
        return f"the system ended the work ({signal.Signals(-code).name}); mostly there was too little memory for it"
    return "the work ended without a result; the service's log says more"
