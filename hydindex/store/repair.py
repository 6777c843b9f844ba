"""Make a new index from a damaged one."""

import glob
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert

from hydindex.common.clock import file_timestamp
from hydindex.common.errors import IndexMissing, IndexUnusable
from hydindex.store.backup import backups, remove_database, require_space
from hydindex.store.database import enable_ctrl_c, is_damage, opened_database, translated
from hydindex.store.file_store import FileStore
from hydindex.store.lock import exclusive
from hydindex.store.migration import require_readable, upgrade
from hydindex.store.posted_record import PostedRecord
from hydindex.store.queries import file_ids
from hydindex.store.salvage import Salvage, SavedFile
from hydindex.store.schema import file, index_state, thumbnail

log = logging.getLogger(__name__)

_BATCH_FILES: Final = 256


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was recovered, and where the damaged file is now.

    `record_is_complete` is false if the damaged file no longer holds all posted pairs, even if its
    backups added some.
    """

    record_is_complete: bool
    posted_pairs: int
    files: int
    damaged: Path


def repair(path: Path) -> Repaired | None:
    """Replace a damaged index by a new one; return None if it is undamaged.

    Recovers the posted pairs, also from backups, and the files with their thumbnails. The next
    update prepares and compares these again and fetches what is missing. If interrupted, the
    damaged index stays where it was.

    Raises:
        IndexMissing, IndexLocked, IndexTooNew, IndexUnusable: it doesn't exist or can't be opened.
    """
    with exclusive(path, "repair"):
        # An interrupted repair may have left a damaged file that holds more than the index.
        damaged_files = path.parent.glob(f"{glob.escape(path.name)}.*.damaged")
        copies = [*sorted(damaged_files, reverse=True), *backups(path)]
        if not path.exists():
            if not copies:
                raise IndexMissing(path)
            path.touch()
        new = path.with_name(f"{path.name}.repairing")
        with closing(Salvage(path)) as damaged:
            require_readable(path, damaged.tables(), damaged.revision())
            if _is_undamaged(path):
                return None
            require_space(path, purpose="repair the index")
            log.info("repairing %s; this may take minutes", path)
            remove_database(new)
            try:
                record_is_complete, posted_pairs, files = _fill(new, damaged, copies)
            except BaseException:
                remove_database(new)
                raise
        return Repaired(record_is_complete, posted_pairs, files, _put_in_place(new, path))


def _is_undamaged(path: Path) -> bool:
    """Check the whole file including its SQL indexes, which a run doesn't."""
    with closing(sqlite3.connect(path)) as connection:
        enable_ctrl_c(connection)
        try:
            findings = connection.execute("PRAGMA integrity_check(1)").fetchall()
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        except sqlite3.Error as error:
            if is_damage(error):
                return False
            raise translated(path, error) from None
    return findings == [("ok",)] and tables > 0


def _fill(new: Path, damaged: Salvage, copies: Sequence[Path]) -> tuple[bool, int, int]:
    """Fill a new index.

    Returns whether the record of posted pairs is complete, and the numbers of these pairs and of
    files with thumbnails.
    """
    with opened_database(new) as engine:
        upgrade(engine, new)
        files = damaged.files()
        while batch := list(islice(files, _BATCH_FILES)):
            with engine.begin() as connection:
                _save_files(connection, batch)
        with suppress(ValueError, TypeError), engine.begin() as connection:
            # If the recipe is lost, the next command sets that of the config.
            recipe = json.loads(damaged.recipe() or "")
            connection.execute(insert(index_state).values(id=1, recipe=recipe, next_step=1))
        record = PostedRecord(engine)
        pairs, record_is_complete = damaged.posted()
        record.add(pairs)
        for path in copies:
            try:
                with closing(Salvage(path)) as copy:
                    record.add(copy.posted()[0])
            except (sqlite3.Error, IndexUnusable) as error:
                log.warning("%s cannot be read: %s", path, error)
        posted_pairs, thumbnails = record.count(), FileStore(engine).pictured_count()
    with closing(sqlite3.connect(new)) as connection:
        # Merge the write-ahead log: on a full disk SQLite silently keeps data there.
        try:
            (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise translated(new, error) from None
    if is_busy or not _is_undamaged(new):
        raise IndexUnusable(f"{new} cannot be written", "Check that the disk has free space.")
    return record_is_complete, posted_pairs, thumbnails


def _save_files(connection: Connection, saved: Sequence[SavedFile]) -> None:
    """Save files that the next update prepares and compares. Repeated ones are ignored."""
    connection.execute(insert(file).prefix_with("OR IGNORE"), [each.row for each in saved])
    ids = file_ids(connection, [each.row["sha256"] for each in saved])
    thumbnails = [
        {"file_id": ids[each.row["sha256"]], "picture": each.thumbnail}
        for each in saved
        if each.thumbnail is not None
    ]
    if thumbnails:
        connection.execute(insert(thumbnail).prefix_with("OR IGNORE"), thumbnails)


def _put_in_place(new: Path, path: Path) -> Path:
    """Replace the damaged file, and return the name under which it is kept.

    There is an index at every moment: without one, an update would start a new index.
    """
    damaged = path.with_name(f"{path.name}.{file_timestamp()}.damaged")
    wal, shared_memory = Path(f"{path}-wal"), Path(f"{path}-shm")
    try:
        _duplicate(path, damaged)
        if wal.exists():
            _duplicate(wal, Path(f"{damaged}-wal"))
            wal.unlink()  # SQLite would apply it to the new file
        shared_memory.unlink(missing_ok=True)
        new.replace(path)
    except OSError as error:
        raise IndexUnusable(
            f"The repaired index {new} cannot replace {path}: {error}",
            "Close programs that have the index open, and run hydindex repair again.",
        ) from None
    return damaged


def _duplicate(path: Path, to: Path) -> None:
    """Link a file under a second name; copy it if hard links aren't supported."""
    try:
        os.link(path, to)
    except OSError:
        new = to.with_name(f"{to.name}.part")
        shutil.copy2(path, new)
        new.replace(to)
