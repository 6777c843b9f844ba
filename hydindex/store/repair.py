"""Makes a sound index out of a damaged one: first what cannot be computed again."""

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
from hydindex.store.backup import copies, remove_database, require_room
from hydindex.store.database import hear_ctrl_c, is_damage, opened_database, trouble
from hydindex.store.lock import exclusive
from hydindex.store.migration import foreign, is_of_another_program, too_new, upgrade
from hydindex.store.posted_record import PostedRecord
from hydindex.store.queries import file_ids
from hydindex.store.salvage import Salvage, SavedFile
from hydindex.store.schema import REVISION, file, index_state, thumbnail

log = logging.getLogger(__name__)

_FILES_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was saved, and where the damaged file lies now.

    `record_is_complete` is false where the damaged file no longer tells all pairs that were posted,
    whatever its copies had to add.
    """

    record_is_complete: bool
    posted_pairs: int
    files: int
    damaged: Path


def repair(path: Path) -> Repaired | None:
    """Put a sound index in the place of a damaged one; None where it is sound already.

    Saved are the pairs that Hydrus was told of, from the copies beside the index too, and the
    files with their thumbnails. The next update prepares and compares these again, and fetches
    what is missing. Ended at any point, this leaves the damaged index where it was.

    Raises:
        IndexMissing, IndexLocked, IndexTooNew, IndexUnusable: there is none, or it cannot be
            worked on.
    """
    with exclusive(path, "repair"):
        others = [*_set_aside(path), *copies(path)]
        if not path.exists():
            if not others:
                raise IndexMissing(f"There is no index at {path}", "Run hydindex update first.")
            path.touch()
        with closing(Salvage(path)) as damaged:
            _require_index(damaged, path)
            if _is_sound(path):
                return None
            require_room(path, what="be repaired")
            log.info("repairing %s: this may take minutes", path)
            half = path.with_name(f"{path.name}.repairing")
            remove_database(half)
            try:
                record_is_complete = _fill(half, damaged, others)
                saved = _counts(half)
            except BaseException:
                remove_database(half)
                raise
        return Repaired(record_is_complete, *saved, damaged=_put_in_place(half, path))


def _require_index(damaged: Salvage, path: Path) -> None:
    tables, revision = damaged.tables(), damaged.revision()
    if tables and is_of_another_program(tables):
        raise foreign(path)
    if revision is not None and revision > REVISION:
        raise too_new(path, revision)


def _is_sound(path: Path) -> bool:
    """Look through all of it, more closely than a run does: at its indexes as well."""
    with closing(sqlite3.connect(path)) as connection:
        hear_ctrl_c(connection)
        try:
            findings = connection.execute("PRAGMA integrity_check(1)").fetchall()
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        except sqlite3.Error as error:
            if is_damage(error):
                return False
            raise trouble(path, error) from None
    return findings == [("ok",)] and tables > 0


def _fill(half: Path, damaged: Salvage, others: Sequence[Path]) -> bool:
    """Make a new index of what can be read; give whether the record of posted pairs is whole."""
    with opened_database(half) as engine:
        upgrade(engine, half)
        pairs, is_whole = damaged.posted()
        PostedRecord(engine).add(pairs)
        for other in others:
            try:
                with closing(Salvage(other)) as copy:
                    PostedRecord(engine).add(copy.posted()[0])
            except (sqlite3.Error, IndexUnusable) as error:
                log.warning("%s cannot be read: %s", other, error)
        _save(engine, damaged)
    with closing(sqlite3.connect(half)) as connection:
        # From here on it is one file: a disk without room would keep the rest in the log.
        try:
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise trouble(half, error) from None
    if busy or not _is_sound(half):
        raise IndexUnusable(f"{half} cannot be written", "Is there room on the disk?")
    return is_whole


def _save(engine: Engine, damaged: Salvage) -> None:
    """Take over files and the recipe; nothing is prepared or compared under it yet."""
    files = damaged.files()
    while some := list(islice(files, _FILES_AT_ONCE)):
        with engine.begin() as connection:
            _save_files(connection, some)
    with suppress(ValueError, TypeError), engine.begin() as connection:
        # Where it is lost, the next command takes up that of the config.
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


def _counts(half: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(half)) as connection:
        (pairs,) = connection.execute("SELECT count(*) FROM pair").fetchone()
        (pictures,) = connection.execute("SELECT count(*) FROM thumbnail").fetchone()
    return pairs, pictures


def _put_in_place(half: Path, path: Path) -> Path:
    """Put the new file where the damaged one is, which stays beside it under another name.

    At no moment is there no index: the next update would begin a new one.
    """
    damaged = _unused_name(path)
    wal, shared_memory = Path(f"{path}-wal"), Path(f"{path}-shm")
    try:
        _duplicate(path, damaged)
        if wal.exists():
            _duplicate(wal, Path(f"{damaged}-wal"))
            wal.unlink()  # SQLite would take it for the new file's
        shared_memory.unlink(missing_ok=True)
        half.replace(path)
    except OSError as error:
        raise IndexUnusable(
            f"The repaired index {half} cannot be put in the place of {path}: {error}",
            "Close whatever has the index open, and run hydindex repair again.",
        ) from None
    return damaged


def _unused_name(path: Path) -> Path:
    stamp = file_timestamp()
    names = chain([stamp], (f"{stamp}-{number}" for number in count(2)))
    paths = (path.with_name(f"{path.name}.{name}.damaged") for name in names)
    return next(each for each in paths if not each.exists())


def _duplicate(path: Path, to: Path) -> None:
    """Give a file a second name; on a file system without hard links, copy it."""
    try:
        os.link(path, to)
    except OSError:
        half = to.with_name(f"{to.name}.part")
        shutil.copy2(path, half)
        half.replace(to)


def _set_aside(path: Path) -> list[Path]:
    """List what earlier repairs have set aside: one of them may have been cut short."""
    found = path.parent.glob(f"{glob.escape(path.name)}.*.damaged")
    return sorted((each for each in found if each.is_file()), reverse=True)
