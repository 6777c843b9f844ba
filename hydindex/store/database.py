"""Open the SQLite file: pragmas, transactions, and translation of SQLite's errors."""

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

_DAMAGE_CODES: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_UNREADABLE_CODES: Final = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
# Some milliseconds of work.
_STEPS_PER_SIGNAL_CHECK: Final = 100_000
# Part of SQLite's message -> what to do.
_REMEDIES: Final = {
    "readonly": "Check that the file and its folder are writable.",
    "unable to open": "Check that the folder exists and is writable.",
    "full": "Free some disk space and run the command again. No partial data was written.",
    "disk I/O": "The disk failed to read or write; it may be full or failing. "
    "No partial data was written.",
    "lock": "Close other programs that have the file open, and run the command again. If it is in "
    "a network folder, set index.path to a file on a local disk.",
    "": "Run the command again with -v to see where it happened.",
}


@contextmanager
def opened_database(path: Path, *, read_only: bool = False) -> Iterator[Engine]:
    """Open a SQLite file, creating it unless `read_only`, and close it at the end.

    Errors of SQLite itself surface as IndexUnusable.
    """
    engine = create_engine(URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # Python's sqlite3 would begin transactions of its own, and none before DDL.
        connection.isolation_level = None
        enable_ctrl_c(connection)
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout = 5000")
        cursor.execute("PRAGMA foreign_keys = ON")
        # In KiB. The default of 2 MB can't hold the inner pages of a million files' trees. Memory
        # mapping gains nothing more, and turns a read error into a crash.
        cursor.execute("PRAGMA cache_size = -32768")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            # Write-ahead logging lets `stats` read while a run writes. It is a property of the
            # file; an existing file may belong to another program and stays as it is.
            if cursor.execute("PRAGMA schema_version").fetchone() == (0,):
                cursor.execute("PRAGMA journal_mode = WAL")
            # The mark that a pair is being sent must survive a power cut: commits wait for the
            # disk.
            cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    @event.listens_for(engine, "handle_error")
    def translate(context: ExceptionContext) -> BaseException | None:
        error = context.sqlalchemy_exception
        # A violated constraint is a bug, and must look like one.
        if isinstance(error, DatabaseError) and not isinstance(error, IntegrityError):
            return translated(path, context.original_exception)
        return None

    try:
        yield engine
    finally:
        engine.dispose()


def enable_ctrl_c(connection: DBAPIConnection | sqlite3.Connection) -> None:
    """Make Ctrl-C interrupt long statements.

    Python handles signals only while Python code runs, such as this handler. An exception in it
    ends the statement with the error "interrupted".
    """
    connection.set_progress_handler(lambda: 0, _STEPS_PER_SIGNAL_CHECK)


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means damage, as opposed to a busy file or a full disk.

    Missing tables and values of the wrong type count as damage.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF in _DAMAGE_CODES or code in _UNREADABLE_CODES


def translated(path: Path, error: BaseException) -> IndexUnusable | KeyboardInterrupt:
    """Return the error for an error of SQLite; KeyboardInterrupt if Ctrl-C caused it."""
    cause = str(error)
    if cause == "interrupted":
        return KeyboardInterrupt()
    if "malformed" in cause or "not a database" in cause:
        return IndexDamaged(path, cause)
    remedy = next(remedy for part, remedy in _REMEDIES.items() if part in cause)
    return IndexUnusable(f"The index {path} cannot be used: {cause}", remedy)
