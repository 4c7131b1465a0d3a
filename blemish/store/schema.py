"""The schema is brought up to date when a store is opened; one that a newer Blemish wrote is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from blemish.errors import StoreError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from blemish.store.database import Database

_LOCK = 0x626C656D697368  # "blemish": one process migrates, the others wait


def migrate(database: Database) -> None:
    """Make or update the tables, in one transaction. Raises `StoreError` for a schema that is not known here."""
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        _upgrade(connection)


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    found = set(MigrationContext.configure(connection).get_current_heads())
    if not found <= known:
        steps = ", ".join(sorted(found - known))
        raise StoreError(f"a newer Blemish wrote this store (schema {steps}); update Blemish, or name another store")
    command.upgrade(config, "head")
