"""Small JSON values by key: active versions, false-alarm rates, states that outlive the process."""

from __future__ import annotations

from typing import Any

from blemish.store.database import Database


class Settings:
    """Keys such as `active/bottle` or `drift/bottle`, each with one JSON value. A set value is on the disk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default."""
        import sqlalchemy as sa

        from blemish.store.tables import SETTINGS

        with self._database.reading() as connection:
            row = connection.execute(sa.select(SETTINGS.c.value).where(SETTINGS.c.key == key)).first()
        return default if row is None else row[0]

    def set(self, key: str, value: Any) -> None:
        """Put a JSON-able value in the place of the key's."""
        from blemish.store.tables import SETTINGS

        with self._database.writing() as connection:
            insert = self._database.insert_or_replace(SETTINGS, "key", "value")
            connection.execute(insert, {"key": key, "value": value})

    def delete(self, key: str) -> None:
        """Forget a key, known or not."""
        from blemish.store.tables import SETTINGS

        with self._database.writing() as connection:
            connection.execute(SETTINGS.delete().where(SETTINGS.c.key == key))

    def with_prefix(self, prefix: str) -> dict[str, Any]:
        """All keys that begin so, with their values."""
        import sqlalchemy as sa

        from blemish.store.tables import SETTINGS

        query = sa.select(SETTINGS.c.key, SETTINGS.c.value).where(SETTINGS.c.key.startswith(prefix, autoescape=True))
        with self._database.reading() as connection:
            return dict(connection.execute(query.order_by(SETTINGS.c.key)).all())
