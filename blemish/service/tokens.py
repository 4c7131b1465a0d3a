"""Who may do what: bearer tokens with a role, kept as hashes."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeAlias, get_args

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from blemish.errors import UsageError
from blemish.models.files import sibling, write_synced
from blemish.service.errors import ServiceError

Role: TypeAlias = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may do what those before it may

_FILE = "tokens.json"
_PREFIX = "blemish_"
_scheme = HTTPBearer(auto_error=False, description="A token of `blemish serve --create-token ROLE`.")


class Token(Protocol):
    """What is known of who asks."""

    @property
    def role(self) -> Role: ...


class Tokens(Protocol):
    """The tokens of a service."""

    def find(self, text: str) -> Token | None:
        """The valid token of a text; None for any other."""
        ...


@dataclass(frozen=True)
class KeptToken:
    """One token of the file; `sha256` is of its text, which has 256 random bits and so needs no salt."""

    name: str
    role: Role
    sha256: str


class TokenFile:
    """The tokens in `tokens.json` of an output folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._tokens = {token.sha256: token for token in self._read()}

    def __len__(self) -> int:
        return len(self._tokens)

    def find(self, text: str) -> KeptToken | None:
        """The token of a text; None for an unknown one."""
        return self._tokens.get(_hash(text))

    def create(self, name: str, role: Role) -> str:
        """A new token's text, which is not shown again."""
        text = _PREFIX + secrets.token_urlsafe(32)
        token = KeptToken(name, role, _hash(text))
        self._tokens[token.sha256] = token
        content = {"tokens": [vars(one) for one in self._tokens.values()]}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = sibling(self._path, ".tmp")
        write_synced(temporary, json.dumps(content, indent=2).encode())
        os.chmod(temporary, 0o600)  # noqa: PTH101
        temporary.replace(self._path)
        return text

    def _read(self) -> list[KeptToken]:
        try:
            content = json.loads(self._path.read_bytes())
            tokens = [KeptToken(one["name"], one["role"], one["sha256"]) for one in content["tokens"]]
            assert all(token.role in ROLES for token in tokens)
        except FileNotFoundError:
            return []
        except (OSError, ValueError, LookupError, TypeError, AssertionError) as error:
            raise UsageError(f"{self._path} is no file of tokens; remove it and create new ones") from error
        return tokens


def require(role: Role) -> Callable[..., Awaitable[None]]:
    """The dependency of a route that takes a token of that role or a higher one, where tokens are asked for."""

    async def check(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]) -> None:
        tokens: Tokens | None = request.app.state.tokens
        if tokens is None:
            return
        token = None if given is None else tokens.find(given.credentials)
        if token is None:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise ServiceError(401, "unauthorized", "send a valid token: Authorization: Bearer TOKEN", challenge)
        if ROLES.index(token.role) < ROLES.index(role):
            raise ServiceError(403, "forbidden", f"this needs a token of the role {role}, not {token.role}")

    return check


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
