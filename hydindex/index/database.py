"""Opens the SQLite file: pragmas, transactions, and SQLite's errors in the user's words."""

from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from hydindex.errors import IndexUnusable

BUSY_TIMEOUT_MS: Final = 5_000
PAGE_CACHE_KB: Final = 32 << 10


def open_database(path: Path, *, read_only: bool = False) -> Engine:
    """Open a SQLite file, creating it unless `read_only`.

    Errors of SQLite itself surface as IndexUnusable.
    """
    engine = create_engine(URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # Python's sqlite3 would begin transactions of its own, and none before DDL.
        connection.isolation_level = None
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
    def translate(context: ExceptionContext) -> IndexUnusable | None:
        error = context.sqlalchemy_exception
        # A broken constraint is a bug of hydindex and should look like one.
        if isinstance(error, DatabaseError) and not isinstance(error, IntegrityError):
            return unusable(path, str(context.original_exception))
        return None

    return engine


def unusable(path: Path, cause: str) -> IndexUnusable:
    """Say what SQLite says of the file, and what to do about it."""
    if "malformed" in cause or "not a database" in cause:
        remedy = (
            "The file is damaged or is no index. Put a copy of it in its place, or move it away: "
            "the next update then makes a new one, and may post known pairs again."
        )
    elif "readonly" in cause or "unable to open" in cause:
        remedy = "Does the folder exist, and may you write to the file and the folder?"
    elif "full" in cause:
        remedy = "Free some disk space and run the command again; nothing is half-written."
    elif "locked" in cause:
        remedy = "Another program has the file open. Close it and run the command again."
    else:
        remedy = "Run the command again with -v to see where it happened."
    return IndexUnusable(f"The index {path} cannot be used: {cause}", remedy)
