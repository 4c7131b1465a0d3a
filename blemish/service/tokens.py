"""Who may do what: bearer tokens with a role, which the store keeps as hashes, and the sessions of browsers."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from blemish.service.errors import ServiceError
from blemish.service.sessions import HEADER, Sessions
from blemish.store import ROLES, Role, Store, Token, Tokens

_REMEMBERED = 5.0  # seconds in which a revoked token may still pass, so that not every request asks the database
_MOST = 1000
_SAFE = ("GET", "HEAD", "OPTIONS")

_scheme = HTTPBearer(auto_error=False, description="A token of `blemish serve --create-token ROLE`.")


@dataclass(frozen=True)
class Caller:
    """Who makes a request. `csrf` is what the pages of a session send along with changes; empty without a session."""

    name: str
    role: Role
    csrf: str = ""

    def may(self, role: Role) -> bool:
        """Whether this is a caller of that role or a higher one."""
        return ROLES.index(self.role) >= ROLES.index(role)


# who asks where no token is needed
_ANYONE = Caller("local", "admin")


class Guard:
    """Tokens as they are asked for; without any, `is_open`."""

    def __init__(self, store: Store | None) -> None:
        self._tokens: Tokens | None = None if store is None else store.tokens
        self._known: dict[str | int, tuple[Token, float]] = {}
        self.is_open = self._tokens is None or all(token.revoked is not None for token in self._tokens.all())
        self.sessions = None if store is None or self.is_open else Sessions(store)

    async def token(self, key: str | int) -> Token | None:
        """The valid token of a text, or of a number that a session brings."""
        known = self._known.get(key)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        assert self._tokens is not None
        tokens = self._tokens
        found = await asyncio.to_thread(lambda: tokens.find(key) if isinstance(key, str) else tokens.get(key))
        if found is not None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = found, time.monotonic() + _REMEMBERED
        return found

    async def caller(self, request: Request, bearer: str | None) -> Caller | None:
        """Who asks, by a bearer token or else by a session; None for nobody known.

        Raises `ServiceError` 403 for a change in a session that does not come from one of its own pages.
        """
        if self.is_open:
            return _ANYONE
        if bearer is not None:
            token = await self.token(bearer)
            return None if token is None else Caller(token.name, token.role)
        session = None if self.sessions is None else self.sessions.read(request)
        token = None if session is None else await self.token(session.token)
        if session is None or token is None:
            return None
        sent = request.headers.get(HEADER, "")
        if request.method not in _SAFE and not hmac.compare_digest(sent.encode(), session.csrf.encode()):
            raise ServiceError(403, "forged", f"a change in a session needs the header {HEADER} of its page")
        return Caller(token.name, token.role, session.csrf)


def require(role: Role) -> Callable[..., Awaitable[Caller]]:
    """The dependency of a route that takes a caller of that role or a higher one, where tokens are asked for."""

    async def check(
        request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]
    ) -> Caller:
        guard: Guard = request.app.state.guard
        caller = await guard.caller(request, None if given is None else given.credentials)
        if caller is None:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise ServiceError(401, "unauthorized", "send a valid token: Authorization: Bearer TOKEN", challenge)
        if not caller.may(role):
            raise ServiceError(403, "forbidden", f"this needs a token of the role {role}, not {caller.role}")
        request.state.caller = caller
        return caller

    return check
