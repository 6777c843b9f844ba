"""Doubtful pairs that wait for frame verification, and the sampled frames of videos."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, insert, select

from hydindex.records.files import FileRef
from hydindex.records.pairs import FilePair, ScoredPair
from hydindex.records.pictures import PackedFrames
from hydindex.store.compared_set import queue_matches
from hydindex.store.pair_rows import BOTH_PRESENT, HIGH, LOW, is_row, keys, with_files
from hydindex.store.queries import StorePart, count_rows, is_in
from hydindex.store.schema import ASPECT_RATIO, doubtful_pair, file, sampled_frames

_BOTH_PREPARED = BOTH_PRESENT & (LOW.c.state == "prepared") & (HIGH.c.state == "prepared")


@dataclass(frozen=True, slots=True)
class UnsampledVideo:
    """A video without sampled frames. None where Hydrus doesn't know."""

    file_id: int
    file: FileRef
    size_bytes: int | None
    duration_ms: float | None


@dataclass(frozen=True, slots=True)
class FramesOfVideo:
    """A video's packed frames, with what else is compared. None where Hydrus did not know."""

    file_id: int
    duration_ms: float | None
    aspect_ratio: float | None
    packed: PackedFrames


class FrameStore(StorePart):
    """Reads doubtful pairs, records verdicts on them, and keeps sampled frames."""

    def waiting(self, limit: int) -> list[ScoredPair]:
        """List waiting pairs whose files are present, the most probable first."""
        query = (
            with_files(select(doubtful_pair), doubtful_pair)
            .where(_BOTH_PREPARED)
            # The order of the SQL index on scores, read backwards: nothing has to be sorted.
            .order_by(
                doubtful_pair.c.score.desc(),
                doubtful_pair.c.low_id.desc(),
                doubtful_pair.c.high_id.desc(),
            )
            .limit(limit)
        )
        return [
            ScoredPair(FilePair(low, high), score, features, is_doubtful=True)
            for low, high, score, features in self._rows(query)
        ]

    def waiting_count(self) -> int:
        """Count waiting pairs, including those with a gone file."""
        return self._count(count_rows(doubtful_pair))

    def record_verdicts(self, pairs: Iterable[FilePair], matches: Iterable[ScoredPair]) -> None:
        """Stop these pairs from waiting, and queue those that match, in one transaction."""
        rows = keys(pairs)
        if not rows:
            return
        with self._engine.begin() as connection:
            connection.execute(delete(doubtful_pair).where(is_row(doubtful_pair)), rows)
            queue_matches(connection, matches)

    def unsampled(self, ids: NDArray[np.int64]) -> list[UnsampledVideo]:
        """List the files, of some present ones, whose frames have not been sampled."""
        query = (
            select(
                file.c.id,
                file.c.hydrus_id,
                file.c.sha256,
                file.c.size_bytes,
                file.c.duration_ms,
            )
            .outerjoin(sampled_frames, sampled_frames.c.file_id == file.c.id)
            .where(is_in(file.c.id, ids), sampled_frames.c.file_id.is_(None))
            .order_by(file.c.id)
        )
        return [
            UnsampledVideo(file_id, FileRef(hydrus_id, sha256.hex()), size_bytes, duration_ms)
            for file_id, hydrus_id, sha256, size_bytes, duration_ms in self._rows(query)
        ]

    def save_frames(self, file_id: int, frames: PackedFrames | str) -> None:
        """Save the frames of a video, or the reason why it has none."""
        if isinstance(frames, str):
            row: dict[str, Any] = {"unreadable_reason": frames}
        else:
            row = asdict(frames)
        statement = insert(sampled_frames).prefix_with("OR REPLACE").values(file_id=file_id, **row)
        with self._engine.begin() as connection:
            connection.execute(statement)

    def load_frames(self, ids: NDArray[np.int64]) -> list[FramesOfVideo]:
        """Load the frames of files that have any, in the order of their ids."""
        query = (
            select(
                file.c.id,
                file.c.duration_ms,
                ASPECT_RATIO,
                sampled_frames.c.views,
                sampled_frames.c.content_aspect_factors,
            )
            .join(sampled_frames, sampled_frames.c.file_id == file.c.id)
            .where(is_in(file.c.id, ids), sampled_frames.c.views.is_not(None))
            .order_by(file.c.id)
        )
        return [
            FramesOfVideo(file_id, duration_ms, ratio, PackedFrames(views, shapes))
            for file_id, duration_ms, ratio, views, shapes in self._rows(query)
        ]
