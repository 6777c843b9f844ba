"""A run records what the user decided about posted pairs: a batch per run, each decision once."""

from collections import Counter
from collections.abc import Callable

import pytest
from conftest import Home, count

from hydindex.pipeline import user_decisions
from hydindex.standin.server import StandIn

READ = "/get_file_relationships"
FALSE_POSITIVE, SAME_QUALITY, ALTERNATE, A_BETTER = 1, 2, 3, 4


def recorded(home: Home) -> dict[frozenset[str], str | None]:
    """The decision that the index holds for each pair."""
    return {frozenset((a, b)): decision for a, b, decision in home.pair_rows("decision")}


def disjoint_pairs(client: StandIn, number: int) -> list[list[str]]:
    """Potential duplicates whose files are in no other pair: deciding one changes no other."""
    in_pairs = Counter(file for pair in client.potentials for file in pair)
    disjoint = [pair for pair in client.potentials if all(in_pairs[file] == 1 for file in pair)]
    assert len(disjoint) >= number
    return sorted(map(sorted, disjoint))[:number]


@pytest.mark.parametrize(
    ("relationship", "decision"),
    [
        (FALSE_POSITIVE, "false_positive"),
        (SAME_QUALITY, "duplicate"),
        (A_BETTER, "duplicate"),
        (ALTERNATE, "alternate"),
    ],
)
def test_the_next_run_records_a_decision(
    home: Home, posted: StandIn, relationship: int, decision: str
) -> None:
    assert set(recorded(home).values()) == {None}
    (pair,) = disjoint_pairs(posted, 1)
    posted.decide(*pair, relationship)
    home.update()
    undecided = dict.fromkeys(posted.potentials)
    assert recorded(home) == {**undecided, frozenset(pair): decision}


@pytest.mark.parametrize("delete", [StandIn.trash, StandIn.delete])
def test_a_decision_is_recorded_although_the_worse_file_was_deleted(
    home: Home, posted: StandIn, delete: Callable[[StandIn, str], None]
) -> None:
    """Hydrus's duplicate filter usually deletes it."""
    ((better, worse),) = disjoint_pairs(posted, 1)
    posted.decide(better, worse, A_BETTER)
    delete(posted, worse)
    home.update()
    assert recorded(home)[frozenset((better, worse))] == "duplicate"


def test_alternates_of_a_third_file_stay_undecided_while_hydrus_shows_the_pair(
    home: Home, posted: StandIn
) -> None:
    (a, b), (third, _) = disjoint_pairs(posted, 2)
    posted.decide(a, third, ALTERNATE)
    posted.decide(b, third, ALTERNATE)
    home.update()
    assert frozenset((a, b)) in posted.potentials
    assert recorded(home)[frozenset((a, b))] is None


def test_a_pair_that_the_user_removed_stays_undecided(home: Home, posted: StandIn) -> None:
    (pair,) = disjoint_pairs(posted, 1)
    posted.remove_potentials(*pair)
    home.update()
    assert recorded(home)[frozenset(pair)] is None


def test_each_run_checks_one_batch_and_all_pairs_get_their_turn(
    home: Home, posted: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_decisions, "PAIRS_PER_RUN", 2)
    runs = -(-len(posted.potentials) // 2)
    for pair in disjoint_pairs(posted, 2):
        posted.decide(*pair, FALSE_POSITIVE)
    for _ in range(runs):
        posted.clear_log()
        home.update()
        assert count(posted, READ) == 1
    assert sum(decision is not None for decision in recorded(home).values()) == 2


def test_decided_pairs_are_not_checked_again(home: Home, posted: StandIn) -> None:
    for pair in sorted(map(sorted, posted.potentials)):
        posted.decide(*pair, SAME_QUALITY)
    home.update()
    posted.clear_log()
    home.update()
    assert count(posted, READ) == 0


def test_decisions_survive_a_rebuild(home: Home, posted: StandIn) -> None:
    (pair,) = disjoint_pairs(posted, 1)
    posted.decide(*pair, FALSE_POSITIVE)
    home.update()
    home.configure(decision={"min_probability": 0.9})
    assert "decision.min_probability" in home.run("rebuild", "--dry-run").out
    home.rebuild()
    assert recorded(home)[frozenset(pair)] == "false_positive"
