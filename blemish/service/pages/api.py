"""The API to read and to try, from the OpenAPI document; Swagger UI comes from this service like everything else."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from blemish.service.pages.shell import page
from blemish.service.tokens import Guard

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show(request: Request) -> Response:
    """As public as the document itself; whoever has a session can try what the session may do."""
    guard: Guard = request.app.state.guard
    caller = await guard.caller(request, None)
    if caller is not None:
        request.state.caller = caller
    return page(request, "api.html.j2")
