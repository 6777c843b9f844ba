"""Opens the SQLite file: pragmas, transactions, and SQLite's errors in the user's words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from hydindex.common.errors import IndexDamaged, IndexUnusable

BUSY_TIMEOUT_MS: Final = 5_000
PAGE_CACHE_KB: Final = 32 << 10
_DAMAGES: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_UNREADABLE: Final = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
# Some milliseconds of SQLite's work.
_STEPS_BETWEEN_LOOKS: Final = 100_000


def open_database(path: Path, *, read_only: bool = False) -> Engine:
    """Open a SQLite file, creating it unless `read_only`.

    Errors of SQLite itself surface as IndexUnusable.
    """
    engine = create_engine(URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # Python's sqlite3 would begin transactions of its own, and none before DDL.
        connection.isolation_level = None
        hear_ctrl_c(connection)
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        # By default 2 MB: the inner pages of a million files' trees would be read again and again.
        # Memory-mapping gained nothing beyond that, and would turn a read error into a crash.
        cursor.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KB}")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            # Write-ahead logging, so that `stats` can read while a run writes. The file itself
            # remembers it; one that is not new may be another program's and stays as it is.
            if cursor.execute("PRAGMA schema_version").fetchone() == (0,):
                cursor.execute("PRAGMA journal_mode = WAL")
            # A pair is marked as sending before it is sent; after a power cut that mark must
            # still be there, so every commit waits for the disk.
            cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    @event.listens_for(engine, "handle_error")
    def translate(context: ExceptionContext) -> BaseException | None:
        error = context.sqlalchemy_exception
        # A broken constraint is a bug of hydindex and should look like one.
        if isinstance(error, DatabaseError) and not isinstance(error, IntegrityError):
            return trouble(path, context.original_exception)
        return None

    return engine


@contextmanager
def opened_database(path: Path, *, read_only: bool = False) -> Iterator[Engine]:
    """Open a SQLite file as `open_database` does, and close it at the end."""
    engine = open_database(path, read_only=read_only)
    try:
        yield engine
    finally:
        engine.dispose()


def hear_ctrl_c(connection: DBAPIConnection | sqlite3.Connection) -> None:
    """Let a long statement be stopped.

    Python hears Ctrl-C only where it runs itself. What is raised there ends the statement, of which
    SQLite then says that it was interrupted.
    """
    connection.set_progress_handler(lambda: 0, _STEPS_BETWEEN_LOOKS)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file itself makes no sense; not that it is busy, or no room.

    Such as that SQLite finds no table, or no text where there should be one, count as well.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF in _DAMAGES or code in _UNREADABLE


def require_sound(engine: Engine, path: Path) -> None:
    """Look through the whole file for damages; some seconds a gigabyte.

    Raises:
        IndexDamaged: there are some.
    """
    with engine.connect() as connection:
        findings = connection.exec_driver_sql("PRAGMA quick_check(1)").scalars().all()
    if findings != ["ok"]:
        raise IndexDamaged(path, str(findings[0]))


def trouble(path: Path, error: BaseException) -> IndexUnusable | KeyboardInterrupt:
    """Say what SQLite says of the file, and what to do about it; or that the user said stop."""
    cause = str(error)
    if cause == "interrupted":
        return KeyboardInterrupt()
    if "malformed" in cause or "not a database" in cause:
        return IndexDamaged(path, cause)
    if "readonly" in cause or "unable to open" in cause:
        remedy = "Does the folder exist, and may you write to the file and the folder?"
    elif "full" in cause:
        remedy = "Free some disk space and run the command again; nothing is half-written."
    elif "disk I/O" in cause:
        remedy = (
            "The disk refused to read or write: is it full, or failing? Nothing is half-written."
        )
    elif "lock" in cause:
        remedy = (
            "Another program has the file open: close it and run the command again. A network "
            "folder may not support locks at all: then put the index on a disk of this machine."
        )
    else:
        remedy = "Run the command again with -v to see where it happened."
    return IndexUnusable(f"The index {path} cannot be used: {cause}", remedy)
