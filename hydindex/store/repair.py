"""Make a new index from a damaged one: first what can't be computed again."""

import glob
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, insert
from sqlalchemy.dialects.sqlite import insert as upsert

from hydindex.common.clock import file_timestamp
from hydindex.common.errors import IndexMissing, IndexUnusable
from hydindex.store.backup import backups, remove_database, require_space
from hydindex.store.database import enable_ctrl_c, is_damage, opened_database, translated
from hydindex.store.lock import exclusive
from hydindex.store.migration import foreign, is_of_another_program, too_new, upgrade
from hydindex.store.posted_record import PostedRecord
from hydindex.store.queries import file_ids
from hydindex.store.salvage import Salvage, SavedFile
from hydindex.store.schema import REVISION, file, index_state, thumbnail

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
        others = [*_damaged_files(path), *backups(path)]
        if not path.exists():
            if not others:
                raise IndexMissing(path)
            path.touch()
        with closing(Salvage(path)) as damaged:
            _require_index(damaged, path)
            if _is_undamaged(path):
                return None
            require_space(path, purpose="repair the index")
            log.info("repairing %s; this may take minutes", path)
            new = path.with_name(f"{path.name}.repairing")
            remove_database(new)
            try:
                record_is_complete = _fill(new, damaged, others)
                saved = _counts(new)
            except BaseException:
                remove_database(new)
                raise
        return Repaired(record_is_complete, *saved, damaged=_put_in_place(new, path))


def _require_index(damaged: Salvage, path: Path) -> None:
    tables, revision = damaged.tables(), damaged.revision()
    if tables and is_of_another_program(tables):
        raise foreign(path)
    if revision is not None and revision > REVISION:
        raise too_new(path, revision)


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


def _fill(new: Path, damaged: Salvage, others: Sequence[Path]) -> bool:
    """Fill a new index; return whether the record of posted pairs is complete."""
    with opened_database(new) as engine:
        upgrade(engine, new)
        pairs, is_whole = damaged.posted()
        PostedRecord(engine).add(pairs)
        for other in others:
            try:
                with closing(Salvage(other)) as copy:
                    PostedRecord(engine).add(copy.posted()[0])
            except (sqlite3.Error, IndexUnusable) as error:
                log.warning("%s cannot be read: %s", other, error)
        _save(engine, damaged)
    with closing(sqlite3.connect(new)) as connection:
        # Merge the write-ahead log: on a full disk SQLite silently keeps data there.
        try:
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise translated(new, error) from None
    if busy or not _is_undamaged(new):
        raise IndexUnusable(f"{new} cannot be written", "Check that the disk has free space.")
    return is_whole


def _save(engine: Engine, damaged: Salvage) -> None:
    """Copy files and the recipe; nothing is prepared or compared yet."""
    files = damaged.files()
    while some := list(islice(files, _BATCH_FILES)):
        with engine.begin() as connection:
            _save_files(connection, some)
    with suppress(ValueError, TypeError), engine.begin() as connection:
        # If the recipe is lost, the next command sets that of the config.
        recipe = json.loads(damaged.recipe() or "")
        connection.execute(insert(index_state).values(id=1, recipe=recipe, next_step=1))


def _save_files(connection: Connection, saved: list[SavedFile]) -> None:
    statement = upsert(file)
    rows = [
        {**each.row, "state": "unusable" if each.thumbnail is None else "fetched"} for each in saved
    ]
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["sha256"],
            set_={name: statement.excluded[name] for name in rows[0] if name != "sha256"},
        ),
        rows,
    )
    ids = file_ids(connection, [each.row["sha256"] for each in saved])
    pictures = [
        {"file_id": ids[each.row["sha256"]], "picture": each.thumbnail}
        for each in saved
        if each.thumbnail is not None
    ]
    if pictures:
        connection.execute(insert(thumbnail).prefix_with("OR IGNORE"), pictures)


def _counts(new: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(new)) as connection:
        (pairs,) = connection.execute("SELECT count(*) FROM pair").fetchone()
        (pictures,) = connection.execute("SELECT count(*) FROM thumbnail").fetchone()
    return pairs, pictures


def _put_in_place(new: Path, path: Path) -> Path:
    """Replace the damaged file, which is kept under another name.

    There is an index at every moment: without one, an update would start a new index.
    """
    damaged = _unused_name(path)
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


def _unused_name(path: Path) -> Path:
    stamp = file_timestamp()
    names = chain([stamp], (f"{stamp}-{number}" for number in count(2)))
    paths = (path.with_name(f"{path.name}.{name}.damaged") for name in names)
    return next(each for each in paths if not each.exists())


def _duplicate(path: Path, to: Path) -> None:
    """Link a file under a second name; copy it if hard links aren't supported."""
    try:
        os.link(path, to)
    except OSError:
        new = to.with_name(f"{to.name}.part")
        shutil.copy2(path, new)
        new.replace(to)


def _damaged_files(path: Path) -> list[Path]:
    """List the damaged files of earlier repairs, one of which may have been interrupted."""
    found = path.parent.glob(f"{glob.escape(path.name)}.*.damaged")
    return sorted((each for each in found if each.is_file()), reverse=True)
