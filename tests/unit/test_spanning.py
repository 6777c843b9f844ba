"""The pairs that connect groups of copies agree with the plain definition: a search per pair."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hydindex.matching.spanning_forest import spanning
from hydindex.records.pairs import FilePair

IDS = st.integers(1, 12)
PAIRS = st.lists(
    st.lists(IDS, min_size=2, max_size=2, unique=True).map(lambda ids: FilePair(*sorted(ids))),
    unique=True,
    max_size=40,
)


def reached_from(start: int, links: list[FilePair]) -> set[int]:
    """The files that links connect to one, found by following them."""
    reached, pending = {start}, [start]
    while pending:
        here = pending.pop()
        for each in links:
            if here in (each.low, each.high):
                pending += {each.low, each.high} - reached
                reached |= {each.low, each.high}
    return reached


@given(PAIRS, PAIRS)
@settings(max_examples=60)
def test_a_pair_is_needed_if_no_stronger_pairs_connect_its_files(
    pairs: list[FilePair], joined: list[FilePair]
) -> None:
    assert spanning(pairs, joined) == [
        each.high not in reached_from(each.low, joined + pairs[:number])
        for number, each in enumerate(pairs)
    ]


@given(PAIRS, PAIRS)
@settings(max_examples=60)
def test_needed_pairs_connect_the_same_files_as_all_pairs(
    pairs: list[FilePair], joined: list[FilePair]
) -> None:
    needed = [
        each for each, is_needed in zip(pairs, spanning(pairs, joined), strict=True) if is_needed
    ]
    for each in pairs:
        assert reached_from(each.low, joined + needed) == reached_from(each.low, joined + pairs)
    assert spanning(needed, joined) == [True] * len(needed)
