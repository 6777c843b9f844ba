"""The files in the index: their presence, metadata and pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from hydindex.common import clock
from hydindex.common.batches import batched
from hydindex.common.errors import IndexUnusable
from hydindex.records.files import (
    NO_HYDRUS_ID,
    ComparableFiles,
    FileMetadata,
    FileRef,
    HydrusIds,
    IndexedFiles,
    PreparedFile,
    UnusableFile,
)
from hydindex.records.pictures import PreparedThumbnail
from hydindex.store.compared_set import leave_set, reset_comparisons
from hydindex.store.queries import (
    COMPARABLE_DTYPES,
    SELECT_COMPARABLE,
    StorePart,
    comparable_files,
    count_rows,
    file_ids,
    is_in,
)
from hydindex.store.schema import (
    CLEARED_PREPARATION,
    IS_COMPARED,
    IS_GONE,
    IS_IDENTIFIED,
    IS_PRESENT,
    IS_UNCOMPARED,
    IS_UNIDENTIFIED,
    IS_UNPREPARED,
    IS_UNUSABLE,
    PICTURE_TABLES,
    file,
    index_state,
    sampled_frames,
    thumbnail,
)

RECHECK_UNUSABLE_AFTER: Final = timedelta(days=7)

_BATCH_FILES: Final = 5_000


class FileStore(StorePart):
    """Reads and writes files."""

    def indexed(self) -> IndexedFiles:
        """List every file in the index, including gone ones."""
        # This reads only the SQL index on sha256: 40 MB instead of 150 for a million files. The
        # other queries read only the rows that they return.
        ids, hashes = self._columns(
            select(file.c.id, file.c.sha256).order_by(file.c.sha256), (np.int64, "S32")
        )
        known = self.hydrus_ids()
        by_id = np.argsort(ids)
        hydrus_ids = np.full(len(ids), NO_HYDRUS_ID)
        hydrus_ids[by_id[np.searchsorted(ids, known.ids, sorter=by_id)]] = known.hydrus_ids
        return IndexedFiles(
            ids=ids,
            sha256=hashes,
            hydrus_ids=hydrus_ids,
            present=~np.isin(ids, self._values(select(file.c.id).where(IS_GONE))),
            pictured=~np.isin(ids, self._values(select(file.c.id).where(IS_UNUSABLE))),
        )

    def hydrus_ids(self) -> HydrusIds:
        """List the ids of present files in Hydrus, ascending. Reads only the SQL index on them."""
        query = select(file.c.id, file.c.hydrus_id).where(IS_IDENTIFIED).order_by(file.c.hydrus_id)
        return HydrusIds(*self._columns(query, (np.int64, np.int64)))

    def unidentified(self) -> NDArray[np.int64]:
        """List the present files whose ids in Hydrus are unknown, for example after a repair."""
        (ids,) = self._columns(select(file.c.id).where(IS_UNIDENTIFIED), (np.int64,))
        return ids

    def hashes_by_hydrus_id(self, hydrus_ids: NDArray[np.int64]) -> dict[int, str]:
        """Return the SHA-256 of files by their ids in Hydrus, as far as the index knows them."""
        query = select(file.c.hydrus_id, file.c.sha256).where(is_in(file.c.hydrus_id, hydrus_ids))
        return {hydrus_id: sha256.hex() for hydrus_id, sha256 in self._rows(query)}

    def find(self, hashes: Sequence[str]) -> dict[str, int]:
        """Look up the ids of files by SHA-256; unknown ones are left out."""
        found: dict[bytes, int] = {}
        with self._engine.connect() as connection:
            for batch in batched(hashes, _BATCH_FILES):
                found |= file_ids(connection, map(bytes.fromhex, batch))
        return {sha256.hex(): file_id for sha256, file_id in found.items()}

    def gone_count(self, ids: NDArray[np.int64]) -> int:
        """Count the files, of some, that are gone."""
        return int(np.isin(ids, self._values(select(file.c.id).where(IS_GONE))).sum())

    def due_for_recheck(self) -> list[FileRef]:
        """List the present unusable files that are due for another try, by their ids in Hydrus."""
        query = (
            select(file.c.hydrus_id, file.c.sha256)
            .where(IS_UNUSABLE, IS_PRESENT)
            .where(file.c.checked_at <= clock.ago(RECHECK_UNUSABLE_AFTER))
        )
        rows = sorted((hydrus_id, sha256.hex()) for hydrus_id, sha256 in self._rows(query))
        return [FileRef(hydrus_id, sha256) for hydrus_id, sha256 in rows]

    def hashes_listed_at(self) -> str:
        """Return when Hydrus last returned the SHA-256 of all files."""
        times = self._values(select(index_state.c.hashes_listed_at))
        return (times[0] if times else None) or clock.NEVER

    def record_presence(
        self, *, gone: NDArray[np.int64], identified: HydrusIds, hashes_listed: bool
    ) -> None:
        """Record which files Hydrus no longer finds, and which it finds again or under new ids.

        `hashes_listed`: Hydrus has returned the SHA-256 of all files.
        """
        changed = np.concatenate((gone, identified.ids))
        rows = zip(identified.ids.tolist(), identified.hydrus_ids.tolist(), strict=True)
        with self._engine.begin() as connection:
            if len(gone):
                leave_set(connection, gone.tolist())
            if len(changed):
                # First, so that files can exchange their ids.
                connection.execute(
                    update(file).where(is_in(file.c.id, changed)).values(hydrus_id=None)
                )
                connection.execute(
                    update(file).where(is_in(file.c.id, gone)).values(gone_at=clock.now())
                )
            while batch := list(islice(rows, _BATCH_FILES)):
                connection.execute(
                    _IDENTIFY, [{"row_id": row_id, "new_id": new_id} for row_id, new_id in batch]
                )
            if hashes_listed:
                connection.execute(update(index_state).values(hashes_listed_at=clock.now()))

    def gone_since_before(self, time: str) -> list[int]:
        """List files with stored pictures that have been gone since before a time."""
        query = select(file.c.id).where(IS_GONE, file.c.gone_at < time, file.c.state != "unusable")
        return list(self._values(query))

    def forget_pictures(self, ids: Sequence[int]) -> None:
        """Delete stored pictures; keep identity, pair states and `gone_at`.

        A file that returns is fetched and compared like a new one.
        """
        with self._engine.begin() as connection:
            reset_comparisons(connection, ids)
            reason = "its picture was deleted while it was gone"
            _mark_unusable(connection, ids, reason, checked_at=clock.NEVER)

    def save(self, files: Iterable[PreparedFile | UnusableFile]) -> None:
        """Save new files, or replace known ones, which then count as never compared."""
        by_sha256 = {bytes.fromhex(_metadata(each).sha256): each for each in files}
        if not by_sha256:
            return
        with self._engine.begin() as connection:
            known_ids = list(file_ids(connection, by_sha256).values())
            reset_comparisons(connection, known_ids)
            _delete_pictures(connection, known_ids)
            # Hydrus has just said whose these ids are.
            ids_in_hydrus = [_metadata(each).hydrus_id for each in by_sha256.values()]
            connection.execute(
                update(file).where(is_in(file.c.hydrus_id, ids_in_hydrus)).values(hydrus_id=None)
            )
            connection.execute(_UPSERT_FILE, [_row(each) for each in by_sha256.values()])
            ids = file_ids(connection, by_sha256)
            usable = {
                ids[sha256]: each
                for sha256, each in by_sha256.items()
                if isinstance(each, PreparedFile)
            }
            thumbnails = {file_id: each.thumbnail.picture for file_id, each in usable.items()}
            _save_pictures(connection, thumbnail, thumbnails)
            _save_prepared(connection, {file_id: each.prepared for file_id, each in usable.items()})

    def pictured_count(self) -> int:
        """Count the files with a stored thumbnail, including gone ones."""
        return self._count(count_rows(file, file.c.state != "unusable"))

    def unprepared_count(self) -> int:
        """Count the files whose thumbnail waits to be prepared."""
        return self._count(count_rows(file, IS_UNPREPARED))

    def unprepared(self, limit: int) -> list[tuple[int, bytes]]:
        """List up to `limit` files whose thumbnail waits to be prepared."""
        query = (
            select(file.c.id, thumbnail.c.picture)
            .join(thumbnail, thumbnail.c.file_id == file.c.id)
            .where(IS_UNPREPARED)
            .limit(limit)
        )
        return [(file_id, picture) for file_id, picture in self._rows(query)]

    def save_prepared(self, results: Iterable[tuple[int, PreparedThumbnail | str]]) -> None:
        """Save prepared thumbnails, or the reasons why they are unusable."""
        with self._engine.begin() as connection:
            prepared = {}
            for file_id, result in results:
                if isinstance(result, str):
                    _mark_unusable(connection, [file_id], result, checked_at=clock.now())
                else:
                    prepared[file_id] = result
            _save_prepared(connection, prepared)

    def with_pictures(
        self, ids: NDArray[np.int64], table_name: str
    ) -> tuple[ComparableFiles, list[bytes]]:
        """Load files and their packed pictures of one kind, in the order of the files' ids.

        Raises:
            IndexUnusable: the index has no picture of one of the files.
        """
        table = PICTURE_TABLES[table_name]
        query = (
            SELECT_COMPARABLE.add_columns(table.c.picture)
            .join_from(file, table, table.c.file_id == file.c.id)
            .where(is_in(file.c.id, ids))
            .order_by(file.c.id)
        )
        *columns, pictures = self._columns(query, (*COMPARABLE_DTYPES, np.object_))
        files = comparable_files(columns)
        if len(files) < len(ids):
            raise damaged_picture(int(np.setdiff1d(ids, files.ids)[0]))
        return files, pictures.tolist()

    def vectors(self, ids: NDArray[np.int64], table_name: str, length: int) -> NDArray[np.int8]:
        """Load vectors of one kind, in the order of the ids: (files, length).

        All vectors are read: the ids are usually those of nearly all files.

        Raises:
            IndexUnusable: the index has no vector of one of the files, or one of another length.
        """
        table = PICTURE_TABLES[table_name]
        length_bytes = func.length(table.c.picture)
        query = select(table.c.file_id, table.c.picture, length_bytes).order_by(table.c.file_id)
        stored_ids, packed, lengths = self._columns(query, (np.int64, f"S{length}", np.int64))
        missing = ids[~np.isin(ids, stored_ids[lengths == length])]
        if len(missing):
            raise damaged_picture(int(missing[0]))
        stored = packed.view(np.int8).reshape(-1, length)
        return stored[np.searchsorted(stored_ids, ids)]

    def hashes(self, ids: Iterable[int]) -> list[str]:
        """Return the SHA-256 of files, in the order of their ids."""
        query = select(file.c.sha256).where(file.c.id.in_(ids)).order_by(file.c.id)
        return [sha256.hex() for sha256 in self._values(query)]

    def present_counts(self) -> tuple[int, int]:
        """Count the present files: comparable and unusable ones."""
        # Each of these conditions has its own partial SQL index.
        comparable = (count_rows(file, IS_COMPARED), count_rows(file, IS_UNCOMPARED))
        unusable = count_rows(file, IS_UNUSABLE, IS_PRESENT)
        return sum(self._count(query) for query in comparable), self._count(unusable)


def damaged_picture(file_id: int) -> IndexUnusable:
    """Return the error that a file's picture is missing or damaged."""
    return IndexUnusable(
        f"The picture of file {file_id} in the index is missing or damaged",
        "Run hydindex rebuild --refetch.",
    )


def _metadata(new: PreparedFile | UnusableFile) -> FileMetadata:
    return new.thumbnail.file if isinstance(new, PreparedFile) else new.file


def _row(new: PreparedFile | UnusableFile) -> dict[str, Any]:
    """Return the row of a new file."""
    metadata = asdict(_metadata(new))
    reason = new.reason if isinstance(new, UnusableFile) else None
    return {
        **metadata,
        "sha256": bytes.fromhex(metadata["sha256"]),
        "state": "fetched" if reason is None else "unusable",
        "unusable_reason": reason,
        "checked_at": clock.now(),
    }


_IDENTIFY: Final = (
    update(file)
    .where(file.c.id == bindparam("row_id"))
    .values(hydrus_id=bindparam("new_id"), gone_at=None)
)
_insert_file = upsert(file)
_UPSERT_FILE: Final = _insert_file.on_conflict_do_update(
    index_elements=["sha256"],
    set_={
        column.name: column
        for column in _insert_file.excluded
        if column.name not in ("id", "sha256", "gone_at")
    },
)


def _save_prepared(connection: Connection, prepared: Mapping[int, PreparedThumbnail]) -> None:
    if not prepared:
        return
    connection.execute(
        update(file)
        .where(file.c.id == bindparam("row_id"))
        .values(
            state="prepared",
            average_hash=bindparam("hash"),
            content_aspect_factor=bindparam("factor"),
        ),
        [
            {
                "row_id": file_id,
                "hash": None if each.average_hash is None else _signed(each.average_hash),
                "factor": each.content_aspect_factor,
            }
            for file_id, each in prepared.items()
        ],
    )
    for name, table in PICTURE_TABLES.items():
        pictures = {
            file_id: each.blobs[name] for file_id, each in prepared.items() if name in each.blobs
        }
        _save_pictures(connection, table, pictures)


def _save_pictures(connection: Connection, table: Table, pictures: Mapping[int, bytes]) -> None:
    """Save the pictures of files, or replace them."""
    if pictures:
        connection.execute(
            insert(table).prefix_with("OR REPLACE"),
            [{"file_id": file_id, "picture": picture} for file_id, picture in pictures.items()],
        )


def _mark_unusable(
    connection: Connection, ids: Sequence[int], reason: str, *, checked_at: str
) -> None:
    _delete_pictures(connection, ids)
    connection.execute(
        update(file)
        .where(is_in(file.c.id, ids))
        .values(
            state="unusable", unusable_reason=reason, checked_at=checked_at, **CLEARED_PREPARATION
        )
    )


def _delete_pictures(connection: Connection, ids: Sequence[int]) -> None:
    for table in (thumbnail, sampled_frames, *PICTURE_TABLES.values()):
        connection.execute(delete(table).where(is_in(table.c.file_id, ids)))


def _signed(picture_hash: int) -> int:
    """Convert to a signed integer with the same 64 bits, as SQLite needs it."""
    return picture_hash - (1 << 64) if picture_hash >> 63 else picture_hash
