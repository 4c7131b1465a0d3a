"""Signing in with a token, and out."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from blemish.service.pages.shell import page
from blemish.service.tokens import Guard, require

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def show(request: Request, next: str = "/") -> Response:
    """The form; where no token is needed, the first page."""
    guard: Guard = request.app.state.guard
    if guard.is_open:
        return RedirectResponse("/", 303)
    return page(request, "sign_in.html.j2", next=_own(next), refused=False)


@router.post("/login")
async def sign_in(
    request: Request, token: Annotated[str, Form(max_length=200)], next: Annotated[str, Form()] = "/"
) -> Response:
    """Begin a session; the gate has refused forms of other sites already."""
    guard: Guard = request.app.state.guard
    found = None if guard.is_open else await guard.token(token.strip())
    if found is None or guard.sessions is None:
        return page(request, "sign_in.html.j2", 401, next=_own(next), refused=True)
    answer = RedirectResponse(_own(next), 303)
    guard.sessions.begin(answer, request, found.id)
    return answer


@router.post("/logout", dependencies=[Depends(require("viewer"))])
async def sign_out(request: Request) -> Response:
    """End the session of this browser."""
    guard: Guard = request.app.state.guard
    answer = Response(status_code=204, headers={"HX-Redirect": "/login"})
    if guard.sessions is not None:
        guard.sessions.end(answer)
    return answer


def _own(address: str) -> str:
    """Where to go afterwards: a path of ours, whatever the link said."""
    try:
        parts = urlsplit(address.replace("\\", "/"))
    except ValueError:  # a host that is none
        return "/"
    is_ours = address.startswith("/") and not address.startswith("//") and not parts.netloc and not parts.scheme
    return parts.path + (f"?{parts.query}" if parts.query else "") if is_ours else "/"
