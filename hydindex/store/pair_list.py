"""Pairs as a person looks at them: their files, what speaks for them, what became of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Engine, Integer, func, select

from hydindex.records.pairs import Decision, FilePair, PairState
from hydindex.store.pair_rows import HIGH, LOW, with_files
from hydindex.store.queries import listed
from hydindex.store.schema import file, pair, thumbnail

SCORE_BANDS: Final = 20
"""The histogram of scores has so many bands of one width between 0 and 1."""

# Pictures take their room.
_THUMBNAILS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class ListedPair:
    """A pair as the index holds it; see the schema for what its states mean.

    `matches` is false for one that Hydrus was told of under an earlier config. `outcome` is None
    while the user has not decided, `reason` tells why it was refused, `state_at` as in `clock.now`.
    """

    pair: FilePair
    sha256_low: str
    sha256_high: str
    score: float
    state: PairState
    state_at: str
    matches: bool
    outcome: Decision | None
    reason: str | None
    evidence: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as the index knows it. None where Hydrus did not say."""

    id: int
    sha256: bytes
    mime: str | None
    width_px: int | None
    height_px: int | None
    duration_ms: float | None
    size_bytes: int | None
    gone_at: str | None


class PairStore:
    """Lists pairs; writes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def count(self, states: Sequence[PairState] = (), min_score: float | None = None) -> int:
        """Count pairs; in these states only, if any are named, and from a score on."""
        query = select(func.count()).select_from(pair).where(*_conditions(states, min_score))
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def most_certain(
        self,
        states: Sequence[PairState] = (),
        min_score: float | None = None,
        limit: int | None = None,
    ) -> list[ListedPair]:
        """List such pairs, those with the highest scores first."""
        columns = (
            *(pair.c.low_id, pair.c.high_id, LOW.c.sha256, HIGH.c.sha256, pair.c.score),
            *(pair.c.state, pair.c.state_at, pair.c.matches, pair.c.outcome, pair.c.reason),
            pair.c.evidence,
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
                    outcome=None if row.outcome is None else Decision(row.outcome),
                    reason=row.reason,
                    evidence=row.evidence,
                )
                for row in connection.execute(query)
            ]

    def files(self, ids: NDArray[np.int64]) -> list[ListedFile]:
        """List files by their ids, in the order of these."""
        asked = listed(ids)
        columns = [file.c[field.name] for field in fields(ListedFile)]
        query = select(*columns).join_from(asked, file, file.c.id == asked.c.value)
        with self._engine.connect() as connection:
            found = {row.id: ListedFile(*row) for row in connection.execute(query)}
        return [found[file_id] for file_id in ids.tolist()]

    def thumbnails(self, ids: NDArray[np.int64]) -> Iterator[bytes | None]:
        """Give the thumbnails of files as Hydrus served them, in the order of their ids.

        None for a file without one.
        """
        for start in range(0, len(ids), _THUMBNAILS_AT_ONCE):
            some = ids[start : start + _THUMBNAILS_AT_ONCE]
            asked = listed(some)
            query = select(thumbnail.c.file_id, thumbnail.c.picture).join_from(
                asked, thumbnail, thumbnail.c.file_id == asked.c.value
            )
            with self._engine.connect() as connection:
                pictures = {row.file_id: row.picture for row in connection.execute(query)}
            yield from (pictures.get(file_id) for file_id in some.tolist())

    def score_counts(self, *, calibrated: bool) -> list[int]:
        """Count the pairs that match by their scores, in SCORE_BANDS bands from 0 to 1.

        Only those of one method are counted: either calibrated ones or the others. The last band
        takes in its end.
        """
        is_calibrated = pair.c.evidence.is_not(None)
        # So that 0.3 is in the band that begins there: 0.3 * 20 is less than 6.
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
