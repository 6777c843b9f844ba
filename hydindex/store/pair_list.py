"""Lists of pairs for people: their files, features, state and decision."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from sqlalchemy import ColumnElement, Engine, Integer, func, select

from hydindex.records.pair_states import Decision, PairState
from hydindex.records.pairs import FilePair
from hydindex.store.pair_rows import HIGH, LOW, with_files
from hydindex.store.queries import listed
from hydindex.store.schema import file, pair, thumbnail

SCORE_BANDS: Final = 20
"""The number of equal bands, from 0 to 1, in the histogram of scores."""

# Bounds the memory for pictures.
_THUMBNAIL_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class ListedPair:
    """A pair as the index holds it.

    `matches` is false if the pair was posted under an earlier config and no longer matches.
    `decision` is None until the user decides. `reason`: why it was refused.
    """

    pair: FilePair
    sha256_low: str
    sha256_high: str
    score: float
    state: PairState
    state_at: str
    matches: bool
    decision: Decision | None
    reason: str | None
    features: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as the index knows it. None where Hydrus doesn't know."""

    id: int
    sha256: bytes
    mime: str | None
    width_px: int | None
    height_px: int | None
    duration_ms: float | None
    size_bytes: int | None
    gone_at: str | None


class PairList:
    """Reads pairs; writes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def count(self, states: Sequence[PairState] = (), min_score: float | None = None) -> int:
        """Count pairs with these states (empty: all) and at least this score."""
        query = select(func.count()).select_from(pair).where(*_conditions(states, min_score))
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def most_certain(
        self,
        states: Sequence[PairState] = (),
        min_score: float | None = None,
        limit: int | None = None,
    ) -> list[ListedPair]:
        """List pairs like `count`, the highest scores first."""
        columns = (
            *(pair.c.low_id, pair.c.high_id, LOW.c.sha256, HIGH.c.sha256, pair.c.score),
            *(pair.c.state, pair.c.state_at, pair.c.matches, pair.c.decision, pair.c.reason),
            pair.c.features,
        )
        query = (
            with_files(select(*columns), pair)
            .where(*_conditions(states, min_score))
            .order_by(pair.c.score.desc(), pair.c.low_id, pair.c.high_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [
                ListedPair(
                    pair=FilePair(row.low_id, row.high_id),
                    sha256_low=row[2].hex(),
                    sha256_high=row[3].hex(),
                    score=row.score,
                    state=PairState(row.state),
                    state_at=row.state_at,
                    matches=row.matches,
                    decision=None if row.decision is None else Decision(row.decision),
                    reason=row.reason,
                    features=row.features,
                )
                for row in connection.execute(query)
            ]

    def files_of(self, pairs: Iterable[ListedPair]) -> list[ListedFile]:
        """List the files of pairs, each once, in the order of their ids."""
        ids = np.array(sorted({each for item in pairs for each in item.pair.ids}), np.int64)
        asked = listed(ids)
        columns = [file.c[field.name] for field in fields(ListedFile)]
        query = select(*columns).join_from(asked, file, file.c.id == asked.c.value)
        with self._engine.connect() as connection:
            found = {row.id: ListedFile(*row) for row in connection.execute(query)}
        return [found[file_id] for file_id in ids.tolist()]

    def thumbnails(self, files: Sequence[ListedFile]) -> Iterator[bytes | None]:
        """Yield the thumbnail of each file as Hydrus served it, or None."""
        ids = np.array([each.id for each in files], np.int64)
        for start in range(0, len(ids), _THUMBNAIL_BATCH):
            some = ids[start : start + _THUMBNAIL_BATCH]
            asked = listed(some)
            query = select(thumbnail.c.file_id, thumbnail.c.picture).join_from(
                asked, thumbnail, thumbnail.c.file_id == asked.c.value
            )
            with self._engine.connect() as connection:
                pictures = {row.file_id: row.picture for row in connection.execute(query)}
            yield from (pictures.get(file_id) for file_id in some.tolist())

    def score_counts(self, *, calibrated: bool) -> list[int]:
        """Count matching pairs by score, in SCORE_BANDS bands from 0 to 1; the last includes 1.

        `calibrated` selects pairs with probabilities, or those with similarities.
        """
        is_calibrated = pair.c.features.is_not(None)
        # Rounded, because 0.3 * 20 is less than 6.
        number = (func.round(pair.c.score * SCORE_BANDS, 9)).cast(Integer)
        band = func.max(0, func.min(SCORE_BANDS - 1, number))
        query = (
            select(band, func.count())
            .where(pair.c.matches, is_calibrated if calibrated else ~is_calibrated)
            .group_by(band)
        )
        counts = [0] * SCORE_BANDS
        with self._engine.connect() as connection:
            for number_found, count in connection.execute(query):
                counts[number_found] = count
        return counts


def _conditions(states: Sequence[PairState], min_score: float | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if states:
        conditions.append(pair.c.state.in_(states))
    if min_score is not None:
        conditions.append(pair.c.score >= min_score)
    return conditions
