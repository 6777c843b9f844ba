"""The compared set: which files have been compared with each other under the present recipe.

Within the set every pair that the candidate rules allow has been scored. Files join it in steps,
each compared with all that are in it. A file that Hydrus no longer finds leaves it, and joins again
when it returns; its earlier stays are kept. Two files have been compared if and only if any of
their stays overlap: so a file that returns meets just those that joined while it was away.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    bindparam,
    case,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from hydindex.common import clock
from hydindex.records.files import ComparableFiles
from hydindex.records.pairs import KEPT_STATES, PairState, ScoredPair
from hydindex.store.pair_rows import is_row, keys
from hydindex.store.queries import SELECT_COMPARABLE, listed, read_comparable
from hydindex.store.schema import (
    IS_COMPARED,
    IS_UNCOMPARED,
    PICTURE_TABLES,
    compared_stay,
    doubtful_pair,
    file,
    index_state,
    pair,
)

_NOT_IN_HYDRUS = (PairState.QUEUED, PairState.REFUSED)


class ComparedSet:
    """Reads and extends the compared set. Every method that writes is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def uncompared(self) -> ComparableFiles:
        """Load the files that wait to be compared."""
        return self._load(IS_UNCOMPARED)

    def comparable(self) -> ComparableFiles:
        """Load every file that is there and has a picture, compared or not.

        Files that wait to be prepared have an average hash of 0.
        """
        return self._load((file.c.state != "unusable") & file.c.gone_at.is_(None))

    def compared_between(self, shortest_ms: float, longest_ms: float) -> ComparableFiles:
        """Load the compared set's files of these durations, both ends included."""
        return self._load(IS_COMPARED & file.c.duration_ms.between(shortest_ms, longest_ms))

    def compared_without_duration(self) -> ComparableFiles:
        """Load the compared set's files that have no duration, such as still images."""
        return self._load(IS_COMPARED & file.c.duration_ms.is_(None))

    def earlier_stays(self, ids: NDArray[np.int64]) -> dict[int, list[tuple[int, int]]]:
        """Load the earlier stays of those files that have ever left the compared set.

        File id -> the step at which it joined, and the step by which it had left, for each stay.
        """
        asked = listed(ids)
        query = select(
            compared_stay.c.file_id, compared_stay.c.first_step, compared_stay.c.end_step
        ).join_from(asked, compared_stay, compared_stay.c.file_id == asked.c.value)
        stays: dict[int, list[tuple[int, int]]] = {}
        with self._engine.connect() as connection:
            for file_id, first_step, end_step in connection.execute(query):
                stays.setdefault(file_id, []).append((first_step, end_step))
        return stays

    def record(self, joined: Sequence[int], matches: Iterable[ScoredPair]) -> None:
        """Let files join the compared set, and queue their matches: both, or neither.

        A pair that is known already keeps its state: what was posted is never queued again. A
        doubtful one waits for a second look instead.
        """
        with self._engine.begin() as connection:
            step = connection.execute(select(index_state.c.next_step)).scalar_one()
            connection.execute(update(index_state).values(next_step=step + 1))
            connection.execute(
                update(file).where(file.c.id == bindparam("row_id")).values(compared_since=step),
                [{"row_id": file_id} for file_id in joined],
            )
            sure: list[ScoredPair] = []
            doubtful: list[ScoredPair] = []
            for match in matches:
                (doubtful if match.is_doubtful else sure).append(match)
            queue(connection, sure)
            _put_off(connection, doubtful)

    def restart(self, recipe: dict[str, Any], *, prepare_again: bool) -> None:
        """Take up a new recipe: nothing is compared under it yet, and perhaps nothing prepared.

        Pairs that Hydrus has not got leave the queue, until they match again. All others stay.
        """
        with self._engine.begin() as connection:
            connection.execute(update(index_state).values(recipe=recipe))
            connection.execute(update(file).values(compared_since=None))
            connection.execute(delete(compared_stay))
            connection.execute(delete(pair).where(pair.c.state.in_(_NOT_IN_HYDRUS)))
            connection.execute(delete(doubtful_pair))
            connection.execute(update(pair).values(matches=False))
            if prepare_again:
                for table in PICTURE_TABLES.values():  # the new recipe may make others
                    connection.execute(delete(table))
                connection.execute(
                    update(file)
                    .where(file.c.state == "prepared")
                    .values(
                        state="fetched", average_hash=None, content_hash=None, content_shape=None
                    )
                )

    def _load(self, condition: ColumnElement[bool]) -> ComparableFiles:
        with self._engine.connect() as connection:
            return read_comparable(connection, SELECT_COMPARABLE.where(condition))


def queue(connection: Connection, matches: Iterable[ScoredPair]) -> None:
    """Put pairs into the outbox; one that is there already keeps its state.

    One that is decided keeps its score and its evidence, too: those that the user saw.
    """
    rows = _pair_rows(matches)
    if not rows:
        return
    statement = upsert(pair).values(matches=True, state=PairState.QUEUED, state_at=clock.now())
    new = statement.excluded
    is_open = pair.c.outcome.is_(None)
    changed = {
        "score": case((is_open, new.score), else_=pair.c.score),
        "evidence": case((is_open, new.evidence), else_=pair.c.evidence),
        "matches": True,
    }
    connection.execute(
        statement.on_conflict_do_update(index_elements=["low_id", "high_id"], set_=changed), rows
    )


def _put_off(connection: Connection, doubtful: Sequence[ScoredPair]) -> None:
    """Let pairs wait for a second look, unless Hydrus has been told of them anyway."""
    rows = _pair_rows(doubtful)
    if not rows:
        return
    connection.execute(insert(doubtful_pair), rows)
    told = select(pair).where(
        pair.c.low_id == doubtful_pair.c.low_id,
        pair.c.high_id == doubtful_pair.c.high_id,
        # SQLAlchemy cannot expand an IN for many rows.
        or_(*(pair.c.state == state for state in KEPT_STATES)),
    )
    these = keys(each.pair for each in doubtful)
    connection.execute(update(pair).where(is_row(pair)).values(matches=True), these)
    is_told = told.correlate(doubtful_pair).exists()
    connection.execute(delete(doubtful_pair).where(is_row(doubtful_pair), is_told), these)


def _pair_rows(scored: Iterable[ScoredPair]) -> list[dict[str, Any]]:
    return [
        {
            "low_id": each.pair.low,
            "high_id": each.pair.high,
            "score": each.score,
            "evidence": each.evidence,
        }
        for each in scored
    ]


def leave(connection: Connection, ids: Iterable[int]) -> None:
    """Take files out of the compared set, remembering their stay in it."""
    rows = [{"row_id": file_id} for file_id in ids]
    if not rows:
        return
    is_row = file.c.id == bindparam("row_id")
    next_step = select(index_state.c.next_step).scalar_subquery()
    stay = select(file.c.id, file.c.compared_since, next_step).where(is_row, IS_COMPARED)
    connection.execute(
        insert(compared_stay).from_select(["file_id", "first_step", "end_step"], stay), rows
    )
    connection.execute(update(file).where(is_row).values(compared_since=None), rows)


def forget(connection: Connection, file_id: int) -> None:
    """Make a file count as never compared, because its picture is replaced."""
    is_in_pair = or_(pair.c.low_id == file_id, pair.c.high_id == file_id)
    is_in_doubt = or_(doubtful_pair.c.low_id == file_id, doubtful_pair.c.high_id == file_id)
    connection.execute(delete(compared_stay).where(compared_stay.c.file_id == file_id))
    connection.execute(delete(doubtful_pair).where(is_in_doubt))
    connection.execute(delete(pair).where(is_in_pair, pair.c.state.in_(_NOT_IN_HYDRUS)))
    connection.execute(update(pair).where(is_in_pair).values(matches=False))
    connection.execute(update(file).where(file.c.id == file_id).values(compared_since=None))
