"""Work under way: its progress as it happens, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response, StreamingResponse

from blemish.errors import StoreError
from blemish.service.core import service_of, store_of
from blemish.service.errors import ServiceError
from blemish.service.pages.shell import fragment
from blemish.service.tokens import require
from blemish.store import Job

router = APIRouter(prefix="/jobs", include_in_schema=False)

JobId = Annotated[int, Path(ge=1, le=2**53)]
_POLL_S = 0.5
_LONGEST_S = 3600.0  # then the browser connects again


@router.get("/{id}")
async def show(request: Request, id: JobId) -> Response:
    """The job's card; while it is at work, the card follows its events."""
    return fragment(request, "job.html.j2", job=await job_of(request, id))


@router.get("/{id}/events")
async def events(request: Request, id: JobId) -> Response:
    """Server-sent events: `job` with the card's new content, and `end` once it is done, failed or cancelled."""
    await job_of(request, id)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(request, id), media_type="text/event-stream", headers=headers)


@router.post("/{id}/cancel", dependencies=[Depends(require("admin"))])
async def cancel(request: Request, id: JobId) -> Response:
    """End it; what it has made so far is left to itself."""
    job = await job_of(request, id)
    await asyncio.to_thread(store_of(request).jobs.update, job.id, "cancelled", message="cancelled")
    return await show(request, id)


async def job_of(request: Request, id: int) -> Job:
    """A job by its number; 404 where there is none."""
    job = await asyncio.to_thread(store_of(request).jobs.get, id)
    if job is None:
        raise ServiceError(404, "no_such_job", f"there is no job {id}")
    return job


async def _events(request: Request, id: int) -> AsyncIterator[str]:
    last: Job | None = None
    for _ in range(round(_LONGEST_S / _POLL_S)):
        if await request.is_disconnected() or service_of(request).stopping.is_set():
            return
        job = last
        with suppress(StoreError):  # away for a moment
            job = await job_of(request, id)
        if job is not None and job != last:
            last = job
            yield _event("job", bytes(fragment(request, "job_state.html.j2", job=job).body).decode())
            if not job.is_open:
                yield _event("end", job.state)
                return
        await asyncio.sleep(_POLL_S)


def _event(name: str, text: str) -> str:
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"event: {name}\n{lines}\n"
