"""The files in the index: their presence, metadata and pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import timedelta
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Connection,
    Engine,
    Table,
    bindparam,
    delete,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from hydindex.common import clock
from hydindex.common.errors import IndexUnusable
from hydindex.records.files import (
    ComparableFiles,
    FileMetadata,
    IndexedFiles,
    PreparedFile,
    UnusableFile,
)
from hydindex.records.pictures import PreparedThumbnail
from hydindex.store.compared_set import forget, leave
from hydindex.store.queries import (
    SELECT_COMPARABLE,
    columns,
    count_files,
    driver_rows,
    file_ids,
    listed,
    read_comparable,
)
from hydindex.store.schema import (
    IS_COMPARED,
    IS_GONE,
    IS_UNCOMPARED,
    IS_UNPREPARED,
    IS_UNUSABLE,
    PICTURE_TABLES,
    file,
    sampled_frames,
    thumbnail,
)

RECHECK_UNUSABLE_AFTER: Final = timedelta(days=7)
FORGOTTEN: Final = "its picture was deleted while it was gone"


class FileStore:
    """Reads and writes files. Each writing method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def indexed(self) -> IndexedFiles:
        """List every file in the index, including gone ones."""
        due_at = clock.ago(RECHECK_UNUSABLE_AFTER)
        with self._engine.connect() as connection:
            # This reads only the SQL index on sha256: 40 MB instead of 150 for a million files. The
            # other queries read only the rows that they return.
            known = connection.execute(select(file.c.id, file.c.sha256).order_by(file.c.sha256))
            ids, hashes = columns(known, (np.int64, "S32"))
            gone = connection.execute(select(file.c.id).where(IS_GONE)).scalars().all()
            unusable = select(file.c.id).where(IS_UNUSABLE)
            pictureless = connection.execute(unusable).scalars().all()
            due = connection.execute(unusable.where(file.c.checked_at <= due_at)).scalars().all()
        return IndexedFiles(
            ids=ids,
            sha256=hashes,
            present=~np.isin(ids, gone),
            pictured=~np.isin(ids, pictureless),
            recheck=np.isin(ids, due),
        )

    def record_presence(self, *, gone: Sequence[int], returned: Sequence[int]) -> None:
        """Record which files Hydrus no longer finds, and which it finds again."""
        with self._engine.begin() as connection:
            leave(connection, gone)
            _set_gone_at(connection, gone, clock.now())
            _set_gone_at(connection, returned, None)

    def gone_before(self, time: str) -> list[int]:
        """List files with stored pictures that have been gone since before a time."""
        query = select(file.c.id).where(IS_GONE, file.c.gone_at < time, file.c.state != "unusable")
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def forget_pictures(self, ids: Iterable[int]) -> None:
        """Delete stored pictures; keep identity, pair states and `gone_at`.

        A file that returns is fetched and compared like a new one.
        """
        with self._engine.begin() as connection:
            for file_id in ids:
                forget(connection, file_id)
                _mark_unusable(connection, file_id, FORGOTTEN, checked_at=clock.NEVER)

    def save(self, files: Iterable[PreparedFile | UnusableFile]) -> None:
        """Save new files, or replace known ones, which then count as never compared."""
        by_sha256 = {bytes.fromhex(_metadata(each).sha256): each for each in files}
        if not by_sha256:
            return
        with self._engine.begin() as connection:
            for known_id in file_ids(connection, by_sha256).values():
                forget(connection, known_id)
                _delete_pictures(connection, known_id)
            connection.execute(_UPSERT_FILE, [_row(each) for each in by_sha256.values()])
            prepared = [
                (file_id, each)
                for sha256, file_id in file_ids(connection, by_sha256).items()
                for each in [by_sha256[sha256]]
                if isinstance(each, PreparedFile)
            ]
            pictures = [(file_id, each.thumbnail.picture) for file_id, each in prepared]
            _put(connection, thumbnail, pictures)
            _save_prepared(connection, [(file_id, each.prepared) for file_id, each in prepared])

    def pictured_count(self) -> int:
        """Count the files with a stored thumbnail, including gone ones."""
        with self._engine.connect() as connection:
            return count_files(connection, file.c.state != "unusable")

    def unprepared_count(self) -> int:
        """Count the files whose thumbnail waits to be prepared."""
        with self._engine.connect() as connection:
            return count_files(connection, IS_UNPREPARED)

    def unprepared(self, limit: int) -> list[tuple[int, bytes]]:
        """List up to `limit` files whose thumbnail waits to be prepared."""
        query = (
            select(file.c.id, thumbnail.c.picture)
            .join(thumbnail, thumbnail.c.file_id == file.c.id)
            .where(IS_UNPREPARED)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [(file_id, picture) for file_id, picture in connection.execute(query)]

    def save_prepared(self, results: Iterable[tuple[int, PreparedThumbnail | str]]) -> None:
        """Save prepared thumbnails, or the reasons why they are unusable."""
        with self._engine.begin() as connection:
            prepared = []
            for file_id, result in results:
                if isinstance(result, str):
                    _mark_unusable(connection, file_id, result, checked_at=clock.now())
                else:
                    prepared.append((file_id, result))
            _save_prepared(connection, prepared)

    def comparable(self, ids: NDArray[np.int64]) -> ComparableFiles:
        """Load what the candidate rules need, for files in the order of their ids."""
        asked = listed(ids)
        query = SELECT_COMPARABLE.join_from(asked, file, file.c.id == asked.c.value)
        with self._engine.connect() as connection:
            return read_comparable(connection, query.order_by(file.c.id))

    def pictures(self, ids: NDArray[np.int64], table_name: str) -> list[bytes]:
        """Load packed pictures of one kind, in the order of the files' ids.

        Raises:
            IndexUnusable: the index has none for one of the files.
        """
        table, asked = PICTURE_TABLES[table_name], listed(ids)
        query = select(table.c.file_id, table.c.picture).join_from(
            asked, table, table.c.file_id == asked.c.value
        )
        with self._engine.connect() as connection:
            found: dict[int, bytes] = dict(chain(*driver_rows(connection.execute(query))))
        try:
            return [found[file_id] for file_id in ids.tolist()]
        except KeyError as missing:
            raise damaged_picture(missing.args[0]) from None

    def hashes(self, ids: Iterable[int]) -> list[str]:
        """Return the SHA-256 of files, in the order of their ids."""
        query = select(file.c.sha256).where(file.c.id.in_(ids)).order_by(file.c.id)
        with self._engine.connect() as connection:
            return [sha256.hex() for sha256 in connection.execute(query).scalars()]

    def present_counts(self) -> tuple[int, int]:
        """Count the present files: comparable and unusable ones."""
        with self._engine.connect() as connection:
            # Each of these conditions has its own partial SQL index.
            comparable = count_files(connection, IS_COMPARED) + count_files(
                connection, IS_UNCOMPARED
            )
            return comparable, count_files(connection, IS_UNUSABLE & file.c.gone_at.is_(None))


def damaged_picture(file_id: int) -> IndexUnusable:
    """Return the error that a file's picture is missing or damaged."""
    return IndexUnusable(
        f"The picture of file {file_id} in the index is missing or damaged",
        "Run hydindex rebuild --refetch.",
    )


def _metadata(saved: PreparedFile | UnusableFile) -> FileMetadata:
    return saved.thumbnail.file if isinstance(saved, PreparedFile) else saved.file


def _row(saved: PreparedFile | UnusableFile) -> dict[str, Any]:
    """Return the row of a new file."""
    metadata = asdict(_metadata(saved))
    del metadata["hydrus_id"]  # not valid beyond this run
    reason = saved.reason if isinstance(saved, UnusableFile) else None
    return {
        **metadata,
        "sha256": bytes.fromhex(metadata["sha256"]),
        "state": "fetched" if reason is None else "unusable",
        "unusable_reason": reason,
        "checked_at": clock.now(),
        "average_hash": None,
        "compared_since": None,
    }


_insert_file = upsert(file)
_UPSERT_FILE: Final = _insert_file.on_conflict_do_update(
    index_elements=["sha256"],
    set_={
        column.name: column
        for column in _insert_file.excluded
        if column.name not in ("id", "sha256", "gone_at")
    },
)


def _save_prepared(
    connection: Connection, prepared: Sequence[tuple[int, PreparedThumbnail]]
) -> None:
    if not prepared:
        return
    connection.execute(
        update(file)
        .where(file.c.id == bindparam("row_id"))
        .values(
            state="prepared",
            average_hash=bindparam("whole"),
            content_hash=bindparam("content"),
            content_aspect_factor=bindparam("factor"),
        ),
        [
            {
                "row_id": file_id,
                "whole": _signed(each.average_hash),
                "content": None if each.content_hash is None else _signed(each.content_hash),
                "factor": each.content_aspect_factor,
            }
            for file_id, each in prepared
        ],
    )
    for name, table in PICTURE_TABLES.items():
        blobs = [(file_id, each.blobs[name]) for file_id, each in prepared if name in each.blobs]
        _put(connection, table, blobs)


def _put(connection: Connection, table: Table, blobs: Sequence[tuple[int, bytes]]) -> None:
    """Insert the blobs of files, or replace them."""
    if not blobs:
        return
    statement = upsert(table)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["file_id"], set_={"picture": statement.excluded.picture}
        ),
        [{"file_id": file_id, "picture": blob} for file_id, blob in blobs],
    )


def _mark_unusable(connection: Connection, file_id: int, reason: str, *, checked_at: str) -> None:
    _delete_pictures(connection, file_id)
    connection.execute(
        update(file)
        .where(file.c.id == file_id)
        .values(
            state="unusable",
            unusable_reason=reason,
            checked_at=checked_at,
            average_hash=None,
            content_hash=None,
            content_aspect_factor=None,
        )
    )


def _delete_pictures(connection: Connection, file_id: int) -> None:
    for table in (thumbnail, sampled_frames, *PICTURE_TABLES.values()):
        connection.execute(delete(table).where(table.c.file_id == file_id))


def _set_gone_at(connection: Connection, ids: Iterable[int], gone_at: str | None) -> None:
    rows = [{"row_id": file_id} for file_id in ids]
    if rows:
        statement = update(file).where(file.c.id == bindparam("row_id")).values(gone_at=gone_at)
        connection.execute(statement, rows)


def _signed(average_hash: int) -> int:
    """Convert to a signed integer with the same 64 bits, as SQLite needs it."""
    return average_hash - (1 << 64) if average_hash >> 63 else average_hash
