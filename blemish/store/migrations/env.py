"""What Alembic runs to apply the steps, on the connection and in the transaction of `blemish.store.schema`."""

from __future__ import annotations

from alembic import context


def apply_steps() -> None:
    """Bring the schema up to date."""
    context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
    context.run_migrations()


if __name__ == "env_py":  # the name under which Alembic loads it
    apply_steps()
