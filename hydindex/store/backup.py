"""Copies of the index, made before what changes much of it."""

import glob
import logging
import shutil
import sqlite3
from contextlib import closing
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from hydindex.common.clock import file_timestamp
from hydindex.common.errors import IndexUnusable

log = logging.getLogger(__name__)

COPIES_KEPT: Final = 3
# So that Ctrl-C is heard while a large index is copied.
_PAGES_AT_ONCE: Final = 4096


def copy_aside(path: Path, *, before: str) -> Path:
    """Copy the index beside itself, what waits in its write-ahead log included; keep the last few.

    Raises:
        IndexUnusable: there is no room, or the index cannot be read.
    """
    copy = path.with_name(f"{path.name}.{file_timestamp()}.before-{before}.bak")
    half_copy = path.with_name(f"{path.name}.copying")
    remove_database(half_copy)  # of a run that was killed
    require_room(path, what=f"be copied before the {before}")
    try:
        with (
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(half_copy)) as target,
        ):
            source.backup(target, pages=_PAGES_AT_ONCE, progress=lambda *_: None)
        half_copy.replace(copy)
    except (sqlite3.Error, OSError) as error:
        raise IndexUnusable(
            f"The index {path} cannot be copied before the {before}: {error}",
            "Mend that and run the command again. Nothing was changed.",
        ) from None
    finally:
        remove_database(half_copy)
    own = (each for each in copies(path) if fnmatch(each.name, "*.????????T??????Z.before-*.bak"))
    for older in list(own)[COPIES_KEPT:]:
        try:
            older.unlink()
        except OSError as error:  # such as one that a backup program has open
            log.warning("the old copy %s cannot be deleted: %s", older, error)
    return copy


def copies(path: Path) -> list[Path]:
    """List the copies of an index, the user's own too, the newest first."""
    found = path.parent.glob(f"{glob.escape(path.name)}.*.bak")
    files = (each for each in found if each.is_file())
    return sorted(files, key=lambda copy: (copy.stat().st_mtime_ns, copy.name), reverse=True)


def require_room(path: Path, *, what: str) -> None:
    """Make sure that another file as large as the index has room beside it.

    Raises:
        IndexUnusable: it has none.
    """
    needed, free = path.stat().st_size, shutil.disk_usage(path.parent).free
    if free < needed:
        raise IndexUnusable(
            f"The index {path} cannot {what}: that takes {needed / 1e6:,.1f} MB, and "
            f"{free / 1e6:,.1f} MB are free",
            "Free some space, or move older copies away (*.bak beside the index). "
            "Nothing was changed.",
        )


def remove_database(path: Path) -> None:
    """Delete a SQLite file, if it is there, with what belongs to it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
