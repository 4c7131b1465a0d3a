"""The bearer tokens of the service: a random text once shown, its hash kept."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from blemish.errors import UsageError
from blemish.models.files import sha256
from blemish.store.database import Database
from blemish.store.rows import clean

if TYPE_CHECKING:
    import sqlalchemy as sa

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

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, role: Role) -> str:
        """A new token's text, which is not shown again. Raises `UsageError` for another role."""
        from blemish.store.tables import TOKENS

        if role not in ROLES:
            raise UsageError(f"a token's role is one of {', '.join(ROLES)}, not {role!r}")
        text = "blemish_" + secrets.token_urlsafe(32)
        row = {"name": clean(name), "role": role, "hash": _hash(text), "created": datetime.now(timezone.utc)}
        with self._database.writing() as connection:
            connection.execute(TOKENS.insert(), row)
        return text

    def find(self, text: str) -> Token | None:
        """The valid token of a text; None for an unknown or a revoked one."""
        from blemish.store.tables import TOKENS

        query = _query().where(TOKENS.c.hash == _hash(text), TOKENS.c.revoked.is_(None))
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else Token(*row)

    def get(self, id: int) -> Token | None:
        """A valid token by its number; None for an unknown or a revoked one."""
        from blemish.store.tables import TOKENS

        with self._database.reading() as connection:
            row = connection.execute(_query().where(TOKENS.c.id == id, TOKENS.c.revoked.is_(None))).first()
        return None if row is None else Token(*row)

    def revoke(self, id: int) -> bool:
        """Whether there was such a valid token; it is no longer."""
        from blemish.store.tables import TOKENS

        update = TOKENS.update().where(TOKENS.c.id == id, TOKENS.c.revoked.is_(None))
        with self._database.writing() as connection:
            return bool(connection.execute(update.values(revoked=datetime.now(timezone.utc))).rowcount)

    def all(self) -> list[Token]:
        """Every token that was ever created, the revoked ones too."""
        from blemish.store.tables import TOKENS

        with self._database.reading() as connection:
            return [Token(*row) for row in connection.execute(_query().order_by(TOKENS.c.id))]


def _query() -> sa.Select[Any]:
    import sqlalchemy as sa

    from blemish.store.tables import TOKENS

    columns = TOKENS.c
    return sa.select(columns.id, columns.name, columns.role, columns.created, columns.revoked)


def _hash(text: str) -> str:
    """The texts are random, so a plain hash cannot be searched."""
    return sha256(text.encode("utf-8", "surrogatepass"))
