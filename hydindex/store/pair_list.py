"""Lists of pairs for people: their files, features, state and decision."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Integer, func, select

from hydindex.common.batches import batched
from hydindex.records.pair_states import Decision, PairState
from hydindex.records.pairs import FilePair
from hydindex.store.pair_rows import HIGH, LOW, is_wanted, with_files
from hydindex.store.queries import StorePart, count_rows, is_in
from hydindex.store.schema import file, pair, thumbnail
from hydindex.store.shared_pictures import is_of_shared_picture

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


class PairList(StorePart):
    """Reads pairs; writes nothing."""

    def count(self, states: Sequence[PairState] = (), min_score: float | None = None) -> int:
        """Count pairs with these states (empty: all) and at least this score."""
        return self._count(count_rows(pair, is_wanted(states, min_score)))

    def highest_scores(
        self,
        states: Sequence[PairState] = (),
        min_score: float | None = None,
        limit: int | None = None,
        without_shared: NDArray[np.int64] | None = None,
    ) -> list[ListedPair]:
        """List pairs like `count`, the highest scores first.

        Pairs that are held back because the files `without_shared` have a shared picture are left
        out.
        """
        columns = select(pair, LOW.c.sha256.label("sha256_low"), HIGH.c.sha256.label("sha256_high"))
        query = (
            with_files(columns, pair)
            .where(is_wanted(states, min_score))
            .order_by(pair.c.score.desc(), pair.c.low_id, pair.c.high_id)
            .limit(limit)
        )
        if without_shared is not None:
            query = query.where(~is_of_shared_picture(without_shared))
        return [
            ListedPair(
                pair=FilePair(row.low_id, row.high_id),
                sha256_low=row.sha256_low.hex(),
                sha256_high=row.sha256_high.hex(),
                score=row.score,
                state=PairState(row.state),
                state_at=row.state_at,
                matches=row.matches,
                decision=None if row.decision is None else Decision(row.decision),
                reason=row.reason,
                features=row.features,
            )
            for row in self._rows(query)
        ]

    def files(self, ids: Sequence[int]) -> list[ListedFile]:
        """List files, each once, in the order of their ids."""
        columns = [file.c[field.name] for field in fields(ListedFile)]
        query = select(*columns).where(is_in(file.c.id, ids)).order_by(file.c.id)
        return [ListedFile(*row) for row in self._rows(query)]

    def thumbnails(self, files: Sequence[ListedFile]) -> Iterator[bytes | None]:
        """Yield the thumbnail of each file as Hydrus served it, or None."""
        for batch in batched(files, _THUMBNAIL_BATCH):
            is_in_batch = is_in(thumbnail.c.file_id, [each.id for each in batch])
            pictures = dict(self._rows(select(thumbnail).where(is_in_batch)))
            yield from (pictures.get(each.id) for each in batch)

    def score_counts(self, *, calibrated: bool) -> list[int]:
        """Count matching pairs by score, in SCORE_BANDS bands from 0 to 1; the last includes 1.

        `calibrated` selects pairs with probabilities, or those with similarities.
        """
        # Rounded, because 0.3 * 20 is less than 6.
        rounded = func.round(pair.c.score * SCORE_BANDS, 9).cast(Integer)
        band = func.max(0, func.min(SCORE_BANDS - 1, rounded))
        query = (
            select(band, func.count())
            .where(pair.c.matches, pair.c.features.is_not(None) == calibrated)
            .group_by(band)
        )
        counts = [0] * SCORE_BANDS
        for number, count in self._rows(query):
            counts[number] = count
        return counts
