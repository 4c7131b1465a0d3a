"""The bearer tokens of the service: a random text once shown, its hash kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args

Role: TypeAlias = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Token:
    """A token as the store knows it; the text itself is not kept."""

    id: int
    name: str
    role: Role
    created: datetime
    revoked: datetime | None


class Tokens:
    """The tokens of a store."""

    def create(self, name: str, role: Role) -> str:
        """A new token's text, which is not shown again."""
        raise NotImplementedError

    def find(self, text: str) -> Token | None:
        """The valid token of a text; None for an unknown or a revoked one."""
        raise NotImplementedError

    def revoke(self, id: int) -> bool:
        """Whether there was such a valid token; it is no longer."""
        raise NotImplementedError

    def all(self) -> list[Token]:
        """Every token that was ever created, the revoked ones too."""
        raise NotImplementedError
