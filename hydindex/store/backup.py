"""Backups of the index, made before large changes."""

import glob
import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from hydindex.common.clock import file_timestamp
from hydindex.common.errors import IndexUnusable

log = logging.getLogger(__name__)

_BACKUPS_KEPT: Final = 3
# Small enough for Ctrl-C to work while a large index is copied.
_PAGES_PER_STEP: Final = 4096


def back_up(path: Path, *, before: str) -> Path:
    """Back up the index beside itself, including its write-ahead log; keep the last few backups.

    Raises:
        IndexUnusable: there is too little space, or the index can't be read.
    """
    backup = path.with_name(f"{path.name}.{file_timestamp()}.before-{before}.bak")
    unfinished = path.with_name(f"{path.name}.copying")
    remove_database(unfinished)  # from a killed run
    require_space(path, purpose=f"back up the index before the {before}")
    try:
        with (
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(unfinished)) as target,
        ):
            source.backup(target, pages=_PAGES_PER_STEP, progress=lambda *_: None)
        unfinished.replace(backup)
    except (sqlite3.Error, OSError) as error:
        raise IndexUnusable(
            f"The index {path} cannot be backed up before the {before}: {error}",
            "Fix this problem, then run the command again. Nothing was changed.",
        ) from None
    finally:
        remove_database(unfinished)
    own = path.parent.glob(f"{glob.escape(path.name)}.????????T??????Z.before-*.bak")
    for older in sorted(own, reverse=True)[_BACKUPS_KEPT:]:
        try:
            older.unlink()
        except OSError as error:  # for example opened by another program
            log.warning("the old backup %s cannot be deleted: %s", older, error)
    log.info("backup of the index: %s", backup)
    return backup


def backups(path: Path) -> list[Path]:
    """List the backups of an index, including the user's own, the newest of hydindex first."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.*.bak"), reverse=True)


def require_space(path: Path, *, purpose: str) -> None:
    """Check that there is space for a second file as large as the index.

    Raises:
        IndexUnusable: there is too little.
    """
    needed, free = path.stat().st_size, shutil.disk_usage(path.parent).free
    if free < needed:
        raise IndexUnusable(
            f"There is too little space to {purpose}: {path} takes {needed / 1e6:,.1f} MB, and "
            f"{free / 1e6:,.1f} MB are free",
            "Free some space, or move old backups (*.bak) elsewhere. Nothing was changed.",
        )


def remove_database(path: Path) -> None:
    """Delete a SQLite file, if it exists, with its journals."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
