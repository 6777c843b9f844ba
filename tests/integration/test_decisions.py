"""What became of posted pairs is noted: cheaply, a batch a night, and once for each decision."""

from collections.abc import Callable

import pytest
from conftest import Home, count

from hydindex.pipeline import user_decisions as decisions
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]
READ = "/get_file_relationships"
FALSE_POSITIVE, SAME_QUALITY, ALTERNATE, A_BETTER = 1, 2, 3, 4


def outcomes(home: Home) -> dict[frozenset[str], str | None]:
    """What the index knows of the posted and known pairs, by the files' hashes."""
    found = home.sql(
        "SELECT lower(hex(low.sha256)), lower(hex(high.sha256)), outcome FROM pair "
        "JOIN file low ON low.id = low_id JOIN file high ON high.id = high_id "
        "WHERE pair.state IN ('posted', 'known')"
    )
    return {frozenset((a, b)): outcome for a, b, outcome in found}


def apart(client: StandIn, number: int) -> list[list[str]]:
    """Potential pairs that have no file in common, so that none is decided with another."""
    chosen: list[frozenset[str]] = []
    for pair in sorted(client.potentials, key=sorted):
        if not any(pair & other for other in chosen):
            chosen.append(pair)
    assert len(chosen) >= number
    return [sorted(pair) for pair in chosen[:number]]


@pytest.mark.parametrize(
    ("relationship", "outcome"),
    [
        (FALSE_POSITIVE, "false_positive"),
        (SAME_QUALITY, "duplicate"),
        (A_BETTER, "duplicate"),
        (ALTERNATE, "alternate"),
    ],
)
def test_the_next_night_notes_what_the_user_decided(
    home: Home, serve: Serve, library: list[HydrusFile], relationship: int, outcome: str
) -> None:
    client = serve(library)
    home.update()
    assert set(outcomes(home).values()) == {None}
    (pair,) = apart(client, 1)
    client.decide(*pair, relationship)
    home.update()
    noted = outcomes(home)
    assert noted[frozenset(pair)] == outcome
    assert {each for each, decided in noted.items() if decided is None} == set(client.potentials)


@pytest.mark.parametrize("delete", [StandIn.trash, StandIn.delete])
def test_a_decision_is_noted_though_the_worse_file_is_deleted_with_it(
    home: Home, serve: Serve, library: list[HydrusFile], delete: Callable[[StandIn, str], None]
) -> None:
    """As users of Hydrus's duplicate filter mostly do."""
    client = serve(library)
    home.update()
    ((better, worse),) = apart(client, 1)
    client.decide(better, worse, A_BETTER)
    delete(client, worse)
    home.update()
    assert outcomes(home)[frozenset((better, worse))] == "duplicate"


def test_alternates_of_a_third_file_are_open_while_they_are_potential_duplicates(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    ((a, b), (third, _)) = apart(client, 2)
    client.decide(a, third, ALTERNATE)
    client.decide(b, third, ALTERNATE)
    home.update()
    assert frozenset((a, b)) in client.potentials
    assert outcomes(home)[frozenset((a, b))] is None


def test_a_pair_that_the_user_removed_stays_open(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    """To remove a pair is to put it off, not to decide it."""
    client = serve(library)
    home.update()
    (pair,) = apart(client, 1)
    client.remove_potentials(*pair)
    home.update()
    assert outcomes(home)[frozenset(pair)] is None


def test_a_night_asks_about_a_batch_and_in_turn_about_all(
    home: Home, serve: Serve, library: list[HydrusFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(library)
    home.update()
    monkeypatch.setattr(decisions, "PAIRS_A_RUN", 3)
    open_pairs = len(client.potentials)
    nights = -(-open_pairs // 3)
    for pair in apart(client, 3):
        client.decide(*pair, FALSE_POSITIVE)
    for _ in range(nights):
        client.clear_log()
        home.update()
        assert count(client, READ) == 1
    assert sum(outcome is not None for outcome in outcomes(home).values()) == 3


def test_what_is_decided_is_not_asked_for_again(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    for pair in sorted(map(sorted, client.potentials)):
        client.decide(*pair, SAME_QUALITY)
    home.update()
    client.clear_log()
    home.update()
    assert count(client, READ) == 0


def test_decisions_outlive_a_rebuild(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    client = serve(library)
    home.update()
    (pair,) = apart(client, 1)
    client.decide(*pair, FALSE_POSITIVE)
    home.update()
    home.configure(preprocessing={"preBlurSigma": 0.9})
    home.rebuild()
    assert outcomes(home)[frozenset(pair)] == "false_positive"
