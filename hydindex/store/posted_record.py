"""The record of posted pairs, which can't be computed again: export and import."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from sqlalchemy import Connection, case, select
from sqlalchemy.dialects.sqlite import insert as upsert

from hydindex.common import clock
from hydindex.records.pair_states import KEPT, PairState
from hydindex.records.pairs import PostedPair
from hydindex.store.pair_rows import SHA256_A, SHA256_B, with_files
from hydindex.store.queries import StorePart, count_rows, file_ids
from hydindex.store.schema import file, pair

# SQLite limits the number of parameters.
_BATCH_PAIRS: Final = 5_000


class PostedRecord(StorePart):
    """Reads and extends the record of posted pairs."""

    def count(self) -> int:
        """Count the pairs of the record."""
        return self._count(count_rows(pair, pair.c.state.in_(KEPT)))

    def pairs(self) -> Iterator[PostedPair]:
        """Yield every pair that Hydrus has or may have, ordered by SHA-256."""
        columns = select(SHA256_A, SHA256_B, pair.c.state, pair.c.score, pair.c.state_at)
        query = with_files(columns, pair).where(pair.c.state.in_(KEPT))
        query = query.order_by(SHA256_A, SHA256_B)
        with self._engine.connect() as connection:
            for a, b, state, score, state_at in connection.execute(query):
                yield PostedPair(a.hex(), b.hex(), PairState(state), score, state_at)

    def add(self, pairs: Iterable[PostedPair]) -> None:
        """Add pairs to the record, in one transaction.

        For existing pairs, the more advanced state is kept. Unknown files are added as gone, and
        fetched once Hydrus finds them.
        """
        with self._engine.begin() as connection:
            remaining = iter(pairs)
            while batch := list(islice(remaining, _BATCH_PAIRS)):
                _add(connection, batch)


def _add(connection: Connection, pairs: Sequence[PostedPair]) -> None:
    ids = _ids(connection, {each for item in pairs for each in (item.sha256_a, item.sha256_b)})
    rows = [
        {
            "low_id": min(ids[each.sha256_a], ids[each.sha256_b]),
            "high_id": max(ids[each.sha256_a], ids[each.sha256_b]),
            "score": each.score,
            "state": each.state,
            "state_at": each.state_at,
        }
        for each in pairs
    ]
    statement = upsert(pair).values(matches=False)
    new = statement.excluded
    rank = {state: number for number, state in enumerate(KEPT)}
    is_more_advanced = case(rank, value=new.state) > case(rank, value=pair.c.state, else_=-1)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["low_id", "high_id"],
            set_={"state": new.state, "reason": None, "state_at": new.state_at},
            where=is_more_advanced,
        ),
        rows,
    )


def _ids(connection: Connection, hashes: Iterable[str]) -> dict[str, int]:
    """Return the ids of files by SHA-256; add unknown ones."""
    wanted = [bytes.fromhex(each) for each in hashes]
    unknown = upsert(file).values(
        state="unusable",
        unusable_reason="known only from an imported record of posted pairs",
        checked_at=clock.NEVER,
        gone_at=clock.now(),
    )
    connection.execute(
        unknown.on_conflict_do_nothing(index_elements=["sha256"]),
        [{"sha256": each} for each in wanted],
    )
    return {sha256.hex(): file_id for sha256, file_id in file_ids(connection, wanted).items()}
