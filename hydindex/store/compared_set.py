"""The compared set: the files that have been compared with each other under the current recipe.

Every candidate pair within the set has been scored. Files join in steps, each compared with all
members. A file that is gone leaves, and joins again when it returns; its earlier membership
intervals are kept. Two files have been compared if and only if any of their intervals overlap: a
returned file is compared with just those that joined while it was away.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    case,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from hydindex.common import clock
from hydindex.records.files import ComparableFiles
from hydindex.records.pair_states import KEPT, SENDABLE, PairState
from hydindex.records.pairs import VERSION_KEY, ScoredPair
from hydindex.store.pair_rows import is_in_state, is_row, keys
from hydindex.store.queries import (
    COMPARABLE_DTYPES,
    SELECT_COMPARABLE,
    StorePart,
    comparable_files,
    is_in,
)
from hydindex.store.schema import (
    CLEARED_PREPARATION,
    IS_COMPARED,
    IS_PRESENT,
    IS_UNCOMPARED,
    IS_UNDECIDED,
    PICTURE_TABLES,
    doubtful_pair,
    file,
    index_state,
    membership,
    pair,
)


class ComparedSet(StorePart):
    """Reads and extends the compared set."""

    def uncompared(self) -> ComparableFiles:
        """Load the files that wait to be compared."""
        return self._load(IS_UNCOMPARED)

    def comparable(self) -> ComparableFiles:
        """Load every present file with a picture, compared or not.

        Files that wait to be prepared have an average hash of 0.
        """
        return self._load((file.c.state != "unusable") & IS_PRESENT)

    def members(self) -> ComparableFiles:
        """Load the files in the set."""
        return self._load(IS_COMPARED)

    def earlier_intervals(self, ids: NDArray[np.int64]) -> dict[int, list[tuple[int, int]]]:
        """Load the earlier membership intervals of files: id -> [(first step, end step)]."""
        query = select(membership).where(is_in(membership.c.file_id, ids))
        intervals: dict[int, list[tuple[int, int]]] = {}
        for file_id, first_step, end_step in self._rows(query):
            intervals.setdefault(file_id, []).append((first_step, end_step))
        return intervals

    def record(self, joined: Sequence[int], matches: Iterable[ScoredPair]) -> None:
        """Let files join the set and queue their matches, in one transaction.

        A pair that is in the index keeps its state: a posted pair is never queued again. Doubtful
        pairs wait for frame verification.
        """
        with self._engine.begin() as connection:
            step = connection.execute(select(index_state.c.next_step)).scalar_one()
            connection.execute(update(index_state).values(next_step=step + 1))
            connection.execute(
                update(file).where(is_in(file.c.id, joined)).values(compared_since=step)
            )
            pairs = list(matches)
            queue_matches(connection, [each for each in pairs if not each.is_doubtful])
            _queue_doubtful(connection, [each for each in pairs if each.is_doubtful])

    def restart(self, recipe: dict[str, Any], *, prepare_again: bool) -> None:
        """Adopt a new recipe: nothing is compared under it yet, and perhaps nothing prepared.

        Pairs that Hydrus doesn't have leave the index until they match again. All others stay.
        """
        with self._engine.begin() as connection:
            connection.execute(update(index_state).values(recipe=recipe))
            connection.execute(update(file).values(compared_since=None))
            connection.execute(delete(membership))
            connection.execute(delete(pair).where(pair.c.state.in_(SENDABLE)))
            connection.execute(delete(doubtful_pair))
            connection.execute(update(pair).values(matches=False))
            if prepare_again:
                for table in PICTURE_TABLES.values():  # the new recipe may need other pictures
                    connection.execute(delete(table))
                was_prepared = file.c.state == "prepared"
                connection.execute(
                    update(file).where(was_prepared).values(state="fetched", **CLEARED_PREPARATION)
                )

    def _load(self, condition: ColumnElement[bool]) -> ComparableFiles:
        return comparable_files(
            self._columns(SELECT_COMPARABLE.where(condition), COMPARABLE_DTYPES)
        )


def queue_matches(connection: Connection, matches: Iterable[ScoredPair]) -> None:
    """Queue pairs. A pair that is in the index keeps its state.

    A decided pair also keeps its score and features: those that the user saw. Features of another
    version are replaced, so that `hydindex calibrate` can use them.
    """
    rows = _pair_rows(matches)
    if not rows:
        return
    statement = upsert(pair).values(matches=True, state=PairState.QUEUED, state_at=clock.now())
    new = statement.excluded
    has_other_version = (
        new.features[VERSION_KEY].as_integer() != pair.c.features[VERSION_KEY].as_integer()
    )
    takes_features = IS_UNDECIDED | has_other_version
    changes = {
        "score": case((IS_UNDECIDED, new.score), else_=pair.c.score),
        "features": case((takes_features, new.features), else_=pair.c.features),
        "matches": True,
    }
    connection.execute(
        statement.on_conflict_do_update(index_elements=["low_id", "high_id"], set_=changes), rows
    )


def _queue_doubtful(connection: Connection, doubtful: Sequence[ScoredPair]) -> None:
    """Let pairs wait for frame verification, unless Hydrus has them already."""
    rows = _pair_rows(doubtful)
    if not rows:
        return
    connection.execute(insert(doubtful_pair), rows)
    pair_keys = keys(each.pair for each in doubtful)
    connection.execute(update(pair).where(is_row(pair)).values(matches=True), pair_keys)
    posted = select(pair).where(is_row(pair), is_in_state(KEPT))
    connection.execute(
        delete(doubtful_pair).where(is_row(doubtful_pair), posted.exists()), pair_keys
    )


def _pair_rows(scored: Iterable[ScoredPair]) -> list[dict[str, Any]]:
    return [
        {
            "low_id": each.pair.low,
            "high_id": each.pair.high,
            "score": each.score,
            "features": each.features,
        }
        for each in scored
    ]


def leave_set(connection: Connection, ids: Sequence[int]) -> None:
    """Remove files from the set, keeping their membership interval."""
    is_leaving = is_in(file.c.id, ids)
    next_step = select(index_state.c.next_step).scalar_subquery()
    interval = select(file.c.id, file.c.compared_since, next_step).where(is_leaving, IS_COMPARED)
    connection.execute(insert(membership).from_select(list(membership.c), interval))
    connection.execute(update(file).where(is_leaving).values(compared_since=None))


def reset_comparisons(connection: Connection, ids: Sequence[int]) -> None:
    """Make files count as never compared, because their pictures are deleted or replaced."""
    is_in_pair = is_in(pair.c.low_id, ids) | is_in(pair.c.high_id, ids)
    is_in_doubtful = is_in(doubtful_pair.c.low_id, ids) | is_in(doubtful_pair.c.high_id, ids)
    connection.execute(delete(membership).where(is_in(membership.c.file_id, ids)))
    connection.execute(delete(doubtful_pair).where(is_in_doubtful))
    # With "in SENDABLE", SQLite would read all sendable pairs instead of those of the files.
    connection.execute(delete(pair).where(is_in_pair, pair.c.state.not_in(KEPT)))
    connection.execute(update(pair).where(is_in_pair).values(matches=False))
    connection.execute(update(file).where(is_in(file.c.id, ids)).values(compared_since=None))
