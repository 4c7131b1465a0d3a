"""One small interface to SQLite and PostgreSQL: read and write transactions, and errors of one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.errors import StoreError, UsageError, install_command

if TYPE_CHECKING:
    import sqlalchemy as sa

_BUSY_S = 30.0  # how long a writer waits for that of another process


class Database:
    """Connections to one database. Its calls may come from any thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._writing = engine.execution_options(blemish_begin="BEGIN IMMEDIATE")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view. Raises `StoreError` where the database does not answer."""
        with _errors_named(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction, on the disk when the block has ended; nothing of it where the block raises."""
        with _errors_named(), self._writing.begin() as connection:
            yield connection

    def insert_new(self, table: sa.Table) -> Any:
        """An INSERT that passes over rows whose unique key is there."""
        return self._insert(table).on_conflict_do_nothing()

    def insert_or_replace(self, table: sa.Table, key: str, value: str) -> Any:
        """An INSERT that, where the key is there, changes the value."""
        insert = self._insert(table)
        return insert.on_conflict_do_update(index_elements=[key], set_={value: insert.excluded[value]})

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _insert(self, table: sa.Table) -> Any:
        if self.is_sqlite:
            from sqlalchemy.dialects.sqlite import insert as insert_sqlite

            return insert_sqlite(table)
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql

        return insert_postgresql(table)


def open_database(url: str | None, folder: Path) -> Database:
    """The database of a URL, or SQLite in the folder; see `blemish.store.open_store`."""
    try:
        import sqlalchemy as sa
    except ModuleNotFoundError:
        raise UsageError(f"the store needs SQLAlchemy: {install_command('serve')}") from None
    try:
        parts = sa.make_url(url) if url else sa.URL.create("sqlite", database=str(folder / "store.db"))
    except (sa.exc.ArgumentError, ValueError):
        raise UsageError("the database URL cannot be read; postgresql://USER@HOST/NAME or sqlite:///PATH") from None
    if parts.drivername == "sqlite" and parts.database:
        return Database(_sqlite_engine(parts, Path(parts.database)))
    if parts.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return Database(_postgresql_engine(parts))
    raise UsageError(f"{parts.drivername} is no database of the store; postgresql://USER@HOST/NAME or sqlite:///PATH")


def _sqlite_engine(url: sa.URL, path: Path) -> sa.Engine:
    import sqlalchemy as sa

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # hashes of tokens are nobody else's business
    except OSError as error:
        raise StoreError(f"the store {path} cannot be written: {error.strerror}") from error
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_S})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:  # noqa: ARG001
        connection.isolation_level = None  # Python's own BEGIN comes too late for a lock, and not before DDL
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("blemish_begin", "BEGIN"))

    return engine


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    import sqlalchemy as sa

    try:
        # a connection that the server ended while it was idle is replaced before it is used
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except ModuleNotFoundError:
        raise UsageError(f"PostgreSQL needs psycopg: {install_command('postgres')}") from None

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:  # noqa: ARG001
        connection.execute("SET synchronous_commit = on")  # whatever the server's default
        connection.commit()

    return engine


@contextmanager
def _errors_named() -> Iterator[None]:
    """The driver's errors as `StoreError`, the first line of each, without statement and parameters."""
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.DBAPIError as error:
        reason = (str(error.orig) or type(error.orig).__name__).splitlines()[0]
        raise StoreError(f"the store's database refuses: {reason[:200]}") from error
    except sa.exc.TimeoutError as error:
        raise StoreError("the store's database is too busy: no connection became free") from error
