"""The record of posted pairs on its way from one index to another: it cannot be computed again."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from sqlalchemy import Connection, Engine, case, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from hydindex.common import clock
from hydindex.records.pair_states import KEPT, PairState
from hydindex.records.pairs import PostedPair
from hydindex.store.pair_rows import HIGH, LOW, with_files
from hydindex.store.queries import driver_rows, file_ids
from hydindex.store.schema import file, pair

NOT_FETCHED_YET: Final = "known from the record of posted pairs alone"
# SQLite limits the number of parameters.
_PAIRS_AT_ONCE: Final = 5_000


class PostedRecord:
    """Reads and extends the record of what Hydrus was told."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def count(self) -> int:
        """Count the pairs of the record."""
        query = select(func.count()).select_from(pair).where(pair.c.state.in_(KEPT))
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def each(self) -> Iterator[PostedPair]:
        """Give every pair that Hydrus was told of, or may have been, by their SHA-256 in order."""
        a = func.min(LOW.c.sha256, HIGH.c.sha256).label("a")
        b = func.max(LOW.c.sha256, HIGH.c.sha256).label("b")
        query = (
            with_files(select(a, b, pair.c.state, pair.c.score, pair.c.state_at), pair)
            .where(pair.c.state.in_(KEPT))
            .order_by("a", "b")
        )
        with self._engine.connect() as connection:
            for rows in driver_rows(connection.execute(query)):
                for sha256_a, sha256_b, state, score, state_at in rows:
                    yield PostedPair(
                        sha256_a.hex(), sha256_b.hex(), PairState(state), score, state_at
                    )

    def add(self, pairs: Iterable[PostedPair]) -> None:
        """Take pairs into the record; all of them, or none.

        Of a pair that the index has already the state stays that says more. Files that the index
        does not know become such as are gone, and are fetched once Hydrus finds them.
        """
        with self._engine.begin() as connection:
            waiting = iter(pairs)
            while some := list(islice(waiting, _PAIRS_AT_ONCE)):
                _add(connection, some)


def _add(connection: Connection, pairs: Sequence[PostedPair]) -> None:
    ids = _ids(connection, {each for item in pairs for each in (item.sha256_a, item.sha256_b)})
    rows = []
    for item in pairs:
        low, high = sorted((ids[item.sha256_a], ids[item.sha256_b]))
        rows.append(
            {
                "low_id": low,
                "high_id": high,
                "score": item.score,
                "matches": False,
                "state": item.state,
                "reason": None,
                "state_at": item.state_at,
            }
        )
    statement = upsert(pair)
    new = statement.excluded
    rank = {state: number for number, state in enumerate(KEPT)}
    says_more = case(rank, value=new.state) > case(rank, value=pair.c.state, else_=-1)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["low_id", "high_id"],
            set_={"state": new.state, "reason": None, "state_at": new.state_at},
            where=says_more,
        ),
        rows,
    )


def _ids(connection: Connection, hashes: Iterable[str]) -> dict[str, int]:
    """Look up the ids of files by their SHA-256, giving one to those that have none."""
    wanted = [bytes.fromhex(each) for each in hashes]
    unknown = upsert(file).values(
        state="unusable",
        unusable_reason=NOT_FETCHED_YET,
        checked_at=clock.NEVER,
        gone_at=clock.now(),
    )
    connection.execute(
        unknown.on_conflict_do_nothing(index_elements=["sha256"]),
        [{"sha256": each} for each in wanted],
    )
    return {sha256.hex(): file_id for sha256, file_id in file_ids(connection, wanted).items()}
