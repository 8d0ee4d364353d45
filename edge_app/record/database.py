"""One database behind SQLAlchemy: SQLite's file or a PostgreSQL server, in transactions.

What goes wrong leaves as a `StorageError` in plain English. Tables are known to other modules.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from edge_app.errors import RecordError, RuntimeUnavailableError, StorageError, UsageError

DATABASE_FILE = "record.sqlite"

_BUSY_SECONDS = 30
_SETTINGS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON")
# PostgreSQL's advisory lock that one writer of this record holds: "pneumosc" in ASCII.
_WRITERS_LOCK = 0x706E65756D6F7363


class Database:
    """Transactions on a record's database.

    SQLite writes ahead into `-wal` (readers never wait for the writer) and brings each transaction
    onto the disk before it ends (`synchronous=FULL`).
    """

    def __init__(self, location: str | Path) -> None:
        """Open it, or make it, and bring its tables up to date.

        Args:
            location: a database file, or a URL of PostgreSQL.

        Raises:
            StorageError, RecordError, UsageError, RuntimeUnavailableError: as of `Record.open`.
        """
        self.file = location if isinstance(location, Path) else None
        url = _server_url(location) if isinstance(location, str) else _file_url(location)
        self._name = url.render_as_string() if self.file is None else str(self.file)
        self._engine = _engine(url)
        with self._plainly():
            _upgrade(self._engine, self._name)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One state of the database, to read.

        Raises:
            StorageError: it cannot be read.
        """
        with self._plainly(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction with no other writer beside it: all of it is on the disk, or nothing.

        Raises:
            StorageError: the disk is full, read-only or gone, or another writer takes too long.
        """
        engine = self._engine.execution_options(writes=True)
        with self._plainly(), engine.begin() as connection:
            yield connection

    def copy_to(self, target: Path) -> None:
        """Copy SQLite's file as it stands at one moment, while others read and write.

        Raises:
            StorageError: it cannot be read, or the copy cannot be written.
        """
        assert self.file is not None
        with self._plainly():
            source, copy = sqlite3.connect(self.file), sqlite3.connect(target)
            try:
                source.backup(copy)
            except sqlite3.Error as error:
                raise StorageError(f"{target}: {_reason(error)}") from error
            finally:
                copy.close()
                source.close()

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StorageError(f"{self._name}: {_reason(error.orig or error)}") from error
        except SQLAlchemyError as error:
            raise StorageError(f"{self._name}: the database cannot be used: {error}") from error


def _file_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def _server_url(location: str) -> URL:
    try:
        url = make_url(location)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() != "postgresql":
        raise UsageError(
            "the record is a folder, or a database postgresql://USER:PASSWORD@HOST/NAME"
        )
    try:
        import pg8000  # noqa: F401
    except ImportError as error:
        raise RuntimeUnavailableError(
            "a record on a PostgreSQL server needs a package: pip install 'pneumoscope[postgresql]'"
        ) from error
    return url.set(drivername="postgresql+pg8000")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        engine = create_engine(url, pool_pre_ping=True)
        event.listen(engine, "begin", _take_writers_lock)
        return engine
    # Python's own handling of SQLite's transactions begins them too late; see SQLAlchemy's page
    # "Pysqlite: serializable isolation".
    options = {"timeout": _BUSY_SECONDS, "isolation_level": None}
    engine = create_engine(url, connect_args=options)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # `secure_delete`: what retention deletes does not stay behind in free pages.
    for setting in _SETTINGS:
        connection.execute(f"PRAGMA {setting}")


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer half-way may be refused; a writer that says so at once waits.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _take_writers_lock(connection: Connection) -> None:
    if connection.get_execution_options().get("writes", False):
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})"))


def _upgrade(engine: Engine, name: str) -> None:
    """Run the migrations that the database has not seen."""
    script = ScriptDirectory(str(Path(__file__).parent / "migrations"))
    newest = script.get_current_head()
    with engine.begin() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found == newest:
        return
    known = {revision.revision for revision in script.walk_revisions()}
    if found is not None and found not in known:
        raise RecordError(
            f"{name}: was written by a newer version of pneumoscope; update this one to read it"
        )

    def steps(revision: object, _: MigrationContext) -> list[RevisionStep]:
        return script._upgrade_revs("head", revision)  # type: ignore

    environment = EnvironmentContext(Config(), script, fn=steps)
    with environment, engine.execution_options(writes=True).begin() as connection:
        environment.configure(connection=connection)
        environment.run_migrations()


def _reason(error: BaseException) -> str:
    """What a driver's error means for the one who stands before the machine."""
    words = str(error).casefold()
    for sign, meaning in _MEANINGS:
        if sign in words:
            return meaning
    return f"the database cannot be used: {error}"


_MEANINGS = (
    ("disk is full", "the disk is full; nothing was saved: free some room and try again"),
    ("readonly database", "cannot be written: the file or its folder is read-only"),
    ("unable to open", "cannot be opened: its folder is missing or may not be written"),
    ("disk i/o error", "cannot be read or written: the disk is full, failing or gone"),
    ("database is locked", "another program has been writing for too long; try again"),
    ("malformed", "is damaged; restore the last backup (`pneumoscope restore`)"),
    ("not a database", "is not a record's database"),
    ("password authentication failed", "the server refuses this user or password"),
    ("can't create a connection", "the server does not answer"),
    ("network error", "the connection to the server broke; try again"),
    ("can only be added to", "the audit log can only be added to"),
    ("does not exist", "the server knows no such database or user"),
)
