"""The files in the index: who is there, what Hydrus says of them, and their pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import zstandard
from sqlalchemy import (
    Connection,
    Engine,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from hydindex import clock
from hydindex.errors import IndexUnusable
from hydindex.index import comparisons
from hydindex.index.schema import IS_UNPREPARED, file, prepared_array, thumbnail
from hydindex.model import ComparableFile, Picture, Prepared, RemoteFile, Unusable

RECHECK_UNUSABLE_AFTER: Final = timedelta(days=7)

# Level 3 makes the arrays of real thumbnails as small as zlib does, and reads three times as fast.
_COMPRESSION_LEVEL: Final = 3


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A row as the diff sees it.

    `pictured` says that its thumbnail is stored, and `recheck` that it has none and is due to be
    asked for again.
    """

    id: int
    sha256: str
    present: bool
    pictured: bool
    recheck: bool


class FileStore:
    """Reads and writes files. Every method that writes is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def indexed(self) -> list[IndexedFile]:
        """List every file that the index knows, gone ones too."""
        due = (file.c.state == "unusable") & (
            file.c.checked_at <= clock.ago(RECHECK_UNUSABLE_AFTER)
        )
        present, pictured = file.c.gone_at.is_(None), file.c.state != "unusable"
        query = select(file.c.id, file.c.sha256, present, pictured, due)
        with self._engine.connect() as connection:
            return [
                IndexedFile(file_id, sha256.hex(), *map(bool, flags))
                for file_id, sha256, *flags in connection.execute(query)
            ]

    def record_presence(self, *, gone: Sequence[int], returned: Sequence[int]) -> None:
        """Note which files Hydrus no longer finds, and which it finds again."""
        with self._engine.begin() as connection:
            comparisons.leave(connection, gone)
            _set_gone_at(connection, gone, clock.now())
            _set_gone_at(connection, returned, None)

    def save(self, judged: Iterable[ComparableFile | Unusable]) -> None:
        """Save files, new ones or such as are to be replaced, with all that belongs to them.

        A file that is replaced counts as never compared.
        """
        with self._engine.begin() as connection:
            for outcome in judged:
                if isinstance(outcome, ComparableFile):
                    source = outcome.thumbnail
                    file_id = _save_row(connection, source.file, unusable_reason=None)
                    connection.execute(
                        insert(thumbnail).values(file_id=file_id, picture=source.picture)
                    )
                    _save_prepared(connection, file_id, outcome.prepared)
                else:
                    _save_row(connection, outcome.file, unusable_reason=outcome.reason)

    def pictured_count(self) -> int:
        """Count the files whose thumbnail is stored, gone ones too."""
        query = select(func.count()).select_from(file).where(file.c.state != "unusable")
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def unprepared_count(self) -> int:
        """Count the files whose stored thumbnail waits to be prepared."""
        query = select(func.count()).select_from(file).where(IS_UNPREPARED)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def unprepared(self, limit: int) -> list[tuple[int, bytes]]:
        """List up to `limit` files whose stored thumbnail waits to be prepared."""
        query = (
            select(file.c.id, thumbnail.c.picture)
            .join(thumbnail, thumbnail.c.file_id == file.c.id)
            .where(IS_UNPREPARED)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [(file_id, picture) for file_id, picture in connection.execute(query)]

    def save_prepared(self, outcomes: Iterable[tuple[int, Prepared | str]]) -> None:
        """Save what became of stored thumbnails: prepared, or the reason why it cannot be."""
        with self._engine.begin() as connection:
            for file_id, outcome in outcomes:
                if isinstance(outcome, Prepared):
                    _save_prepared(connection, file_id, outcome)
                else:
                    _mark_unusable(connection, file_id, outcome)

    def array(self, file_id: int, shape: tuple[int, ...]) -> Picture:
        """Load the prepared array of a file.

        Raises:
            IndexUnusable: the index holds no array of this shape for it.
        """
        query = select(prepared_array.c.pixels).where(prepared_array.c.file_id == file_id)
        with self._engine.connect() as connection:
            packed = connection.execute(query).scalar_one_or_none()
        try:
            pixels = zstandard.decompress(packed or b"")
            return np.frombuffer(pixels, np.uint8).reshape(shape)
        except (zstandard.ZstdError, ValueError):
            raise IndexUnusable(
                f"The index holds no sound picture for file {file_id}",
                "Run hydindex rebuild --refetch.",
            ) from None

    def hashes(self, ids: Iterable[int]) -> list[str]:
        """Give the SHA-256 of files, in the order of their ids."""
        query = select(file.c.sha256).where(file.c.id.in_(ids)).order_by(file.c.id)
        with self._engine.connect() as connection:
            return [sha256.hex() for sha256 in connection.execute(query).scalars()]

    def present_counts(self) -> tuple[int, int]:
        """Count the files that Hydrus holds: those that can be compared, and the unusable ones."""
        query = select(
            func.count().filter(file.c.state == "prepared"),
            func.count().filter(file.c.state == "unusable"),
        ).where(file.c.gone_at.is_(None))
        with self._engine.connect() as connection:
            comparable, unusable = connection.execute(query).one()
        return comparable, unusable


def _save_row(connection: Connection, remote: RemoteFile, *, unusable_reason: str | None) -> int:
    """Insert a file, or replace it as if it were new; give its id. Its pictures are to follow."""
    values = {
        "size_bytes": remote.size_bytes,
        "mime": remote.mime,
        "width_px": remote.width_px,
        "height_px": remote.height_px,
        "duration_ms": remote.duration_ms,
        "num_frames": remote.num_frames,
        "state": "fetched" if unusable_reason is None else "unusable",
        "unusable_reason": unusable_reason,
        "checked_at": clock.now(),
        "average_hash": None,
        "compared_since": None,
    }
    sha256 = bytes.fromhex(remote.sha256)
    known = connection.execute(select(file.c.id).where(file.c.sha256 == sha256)).scalar()
    if known is None:
        statement = insert(file).values(sha256=sha256, **values).returning(file.c.id)
        return int(connection.execute(statement).scalar_one())
    comparisons.forget(connection, known)
    _delete_pictures(connection, known)
    connection.execute(update(file).where(file.c.id == known).values(values))
    return int(known)


def _save_prepared(connection: Connection, file_id: int, prepared: Prepared) -> None:
    connection.execute(
        update(file)
        .where(file.c.id == file_id)
        .values(state="prepared", average_hash=_signed(prepared.average_hash))
    )
    packed = zstandard.compress(prepared.array.tobytes(), _COMPRESSION_LEVEL)
    statement = upsert(prepared_array).values(file_id=file_id, pixels=packed)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["file_id"], set_={"pixels": packed})
    )


def _mark_unusable(connection: Connection, file_id: int, reason: str) -> None:
    _delete_pictures(connection, file_id)
    connection.execute(
        update(file)
        .where(file.c.id == file_id)
        .values(state="unusable", unusable_reason=reason, checked_at=clock.now())
    )


def _delete_pictures(connection: Connection, file_id: int) -> None:
    for table in (thumbnail, prepared_array):
        connection.execute(delete(table).where(table.c.file_id == file_id))


def _set_gone_at(connection: Connection, ids: Iterable[int], gone_at: str | None) -> None:
    rows = [{"row_id": file_id} for file_id in ids]
    if rows:
        statement = update(file).where(file.c.id == bindparam("row_id")).values(gone_at=gone_at)
        connection.execute(statement, rows)


def _signed(average_hash: int) -> int:
    """SQLite's integers are signed: keep the same 64 bits."""
    return average_hash - (1 << 64) if average_hash >> 63 else average_hash
