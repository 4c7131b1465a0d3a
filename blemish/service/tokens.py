"""Who may do what: bearer tokens with a role, which the store keeps as hashes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from blemish.service.errors import ServiceError
from blemish.store import ROLES, Role, Token, Tokens

_REMEMBERED = 5.0  # seconds in which a revoked token may still pass, so that not every request asks the database
_MOST = 1000

_scheme = HTTPBearer(auto_error=False, description="A token of `blemish serve --create-token ROLE`.")


class Guard:
    """Tokens as they are asked for; without any, `is_open`."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens
        self._known: dict[str, tuple[Token, float]] = {}
        self.is_open = tokens is None or all(token.revoked is not None for token in tokens.all())

    async def token(self, text: str) -> Token | None:
        """The valid token of a text."""
        known = self._known.get(text)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        assert self._tokens is not None
        found = await asyncio.to_thread(self._tokens.find, text)
        if found is not None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[text] = found, time.monotonic() + _REMEMBERED
        return found


def require(role: Role) -> Callable[..., Awaitable[None]]:
    """The dependency of a route that takes a token of that role or a higher one, where tokens are asked for."""

    async def check(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]) -> None:
        guard: Guard = request.app.state.guard
        if guard.is_open:
            return
        token = None if given is None else await guard.token(given.credentials)
        if token is None:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise ServiceError(401, "unauthorized", "send a valid token: Authorization: Bearer TOKEN", challenge)
        if ROLES.index(token.role) < ROLES.index(role):
            raise ServiceError(403, "forbidden", f"this needs a token of the role {role}, not {token.role}")

    return check
