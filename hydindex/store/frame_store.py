"""Doubtful pairs that wait for frame verification, and the sampled frames of videos."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from hydindex.records.pairs import FilePair, ScoredPair
from hydindex.records.pictures import PackedFrames
from hydindex.store.compared_set import queue
from hydindex.store.pair_rows import BOTH_PRESENT, HIGH, LOW, is_row, keys, with_files
from hydindex.store.queries import count_doubtful, listed
from hydindex.store.schema import ASPECT_RATIO, doubtful_pair, file, sampled_frames

_CAN_BE_SEEN = BOTH_PRESENT & (LOW.c.state == "prepared") & (HIGH.c.state == "prepared")


@dataclass(frozen=True, slots=True)
class UnsampledVideo:
    """A video without sampled frames. None where Hydrus doesn't know."""

    file_id: int
    sha256: bytes
    size_bytes: int | None
    duration_ms: float | None


@dataclass(frozen=True, slots=True)
class FramesOfVideo:
    """A video's packed frames, with what else is compared. None where Hydrus did not know."""

    file_id: int
    duration_ms: float | None
    aspect_ratio: float | None
    packed: PackedFrames


class FrameStore:
    """Reads and decides doubtful pairs. Each writing method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def waiting(self, limit: int) -> list[ScoredPair]:
        """List waiting pairs whose files are present, the most probable first."""
        query = (
            with_files(select(*doubtful_pair.c), doubtful_pair)
            .where(_CAN_BE_SEEN)
            # The order of the SQL index on scores, read backwards: nothing has to be sorted.
            .order_by(
                doubtful_pair.c.score.desc(),
                doubtful_pair.c.low_id.desc(),
                doubtful_pair.c.high_id.desc(),
            )
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [
                ScoredPair(FilePair(low, high), score, features, is_doubtful=True)
                for low, high, score, features in connection.execute(query)
            ]

    def waiting_count(self) -> int:
        """Count waiting pairs, including those with a gone file."""
        with self._engine.connect() as connection:
            return count_doubtful(connection)

    def settle(self, decided: Iterable[FilePair], matches: Iterable[ScoredPair]) -> None:
        """Remove decided pairs from the waiting ones and queue the matches, in one transaction."""
        rows = keys(decided)
        if not rows:
            return
        with self._engine.begin() as connection:
            connection.execute(delete(doubtful_pair).where(is_row(doubtful_pair)), rows)
            queue(connection, matches)

    def unsampled(self, ids: NDArray[np.int64]) -> list[UnsampledVideo]:
        """List the files, of some, whose frames have not been sampled."""
        asked = listed(ids)
        query = (
            select(file.c.id, file.c.sha256, file.c.size_bytes, file.c.duration_ms)
            .join_from(asked, file, file.c.id == asked.c.value)
            .outerjoin(sampled_frames, sampled_frames.c.file_id == file.c.id)
            .where(sampled_frames.c.file_id.is_(None))
            .order_by(file.c.id)
        )
        with self._engine.connect() as connection:
            return [UnsampledVideo(*row) for row in connection.execute(query)]

    def save_frames(self, file_id: int, frames: PackedFrames | str) -> None:
        """Save the frames of a video, or the reason why it has none."""
        row: dict[str, bytes | str | None] = dict.fromkeys(
            ("views", "content_aspect_factors", "unreadable_reason")
        )
        if isinstance(frames, str):
            row["unreadable_reason"] = frames
        else:
            row |= {"views": frames.views, "content_aspect_factors": frames.content_aspect_factors}
        statement = upsert(sampled_frames).on_conflict_do_nothing()
        with self._engine.begin() as connection:
            connection.execute(statement, {"file_id": file_id, **row})

    def frames(self, ids: NDArray[np.int64]) -> list[FramesOfVideo]:
        """Load the frames of files that have any, in the order of their ids."""
        asked = listed(ids)
        query = (
            select(
                file.c.id,
                file.c.duration_ms,
                ASPECT_RATIO,
                sampled_frames.c.views,
                sampled_frames.c.content_aspect_factors,
            )
            .join_from(asked, file, file.c.id == asked.c.value)
            .join(sampled_frames, sampled_frames.c.file_id == file.c.id)
            .where(sampled_frames.c.views.is_not(None))
            .order_by(file.c.id)
        )
        with self._engine.connect() as connection:
            return [
                FramesOfVideo(file_id, duration_ms, ratio, PackedFrames(views, factors))
                for file_id, duration_ms, ratio, views, factors in connection.execute(query)
            ]
