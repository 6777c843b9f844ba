"""The files and pairs that may be held back because many files share their picture.

Which pictures are shared, `pipeline/shared_pictures.py` decides.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, func, select, union, union_all

from hydindex.records.pair_states import SENDABLE, PairState
from hydindex.records.pairs import BY_FRAMES, FilePair, MatchingPartners
from hydindex.store.pair_rows import BOTH_PRESENT, HIGH, LOW, is_wanted, with_files
from hydindex.store.queries import StorePart, is_in
from hydindex.store.schema import pair

# Frames rejected no pair that matches.
_IS_CONFIRMED: Final = pair.c.features[BY_FRAMES].as_string().is_not(None)
_HAVE_DURATIONS: Final = LOW.c.duration_ms.is_not(None) & HIGH.c.duration_ms.is_not(None)
# Only pairs of the method `calibrated` have features.
_IS_CALIBRATED: Final = pair.c.features.is_not(None)


class SharedPictures(StorePart):
    """Reads pairs; writes nothing."""

    def partners(self, min_partners: int) -> MatchingPartners:
        """List the matching pairs of each file with a pair to be posted and `min_partners` pairs.

        Nearly always, there is no such file: then only SQL indexes and few rows are read.
        """
        is_sendable = pair.c.state.in_(SENDABLE)
        files = union(
            select(pair.c.low_id.label("file_id")).where(is_sendable),
            select(pair.c.high_id).where(is_sendable),
        ).subquery()
        partners = [
            select(func.count()).where(column == files.c.file_id).scalar_subquery()
            for column in (pair.c.low_id, pair.c.high_id)
        ]
        crowded = select(files).where(partners[0] + partners[1] >= min_partners).cte()
        sides = (
            with_files(
                select(
                    crowded.c.file_id,
                    other.c.duration_ms - own.c.duration_ms,
                    _IS_CONFIRMED.label("is_confirmed"),
                ),
                pair,
            )
            .join(crowded, crowded.c.file_id == own.c.id)
            .where(pair.c.matches, _IS_CALIBRATED, BOTH_PRESENT, _HAVE_DURATIONS)
            for own, other in ((LOW, HIGH), (HIGH, LOW))
        )
        return MatchingPartners(*self._columns(union_all(*sides), (np.int64, np.float64, np.bool_)))

    def pairs(
        self,
        file_ids: NDArray[np.int64],
        states: Sequence[PairState] = (),
        min_score: float | None = None,
    ) -> list[FilePair]:
        """List the pairs that are held back because these files have a shared picture.

        Only those with the states (empty: all) and at least the score.
        """
        if not len(file_ids):
            return []
        query = with_files(select(pair.c.low_id, pair.c.high_id), pair).where(
            is_of_shared_picture(file_ids), is_wanted(states, min_score)
        )
        return [FilePair(low, high) for low, high in self._rows(query)]


def is_of_shared_picture(file_ids: NDArray[np.int64]) -> ColumnElement[bool]:
    """Return the condition that a pair, with its files, is held back for one of these files."""
    return and_(
        pair.c.state.in_(SENDABLE),
        _IS_CALIBRATED,
        BOTH_PRESENT,
        _HAVE_DURATIONS,
        ~_IS_CONFIRMED,
        is_in(pair.c.low_id, file_ids) | is_in(pair.c.high_id, file_ids),
    )
