"""The outbox: whatever happens between hydindex and Hydrus, a pair is posted once, ever."""

import pytest
from conftest import (
    Home,
    Library,
    Serve,
    assert_all_posted_once,
    assert_sent_once,
    from_then_on,
    rows,
)

from hydindex.standin.server import (
    DROP_AFTER_WORK,
    DROP_BEFORE_WORK,
    Fault,
    FaultHook,
    StandIn,
    refuse,
)

POST = "/manage_file_relationships/set_file_relationships"
READ = "/manage_file_relationships/get_file_relationships"
FALSE_POSITIVE, DUPLICATE, ALTERNATE, BETTER = 1, 2, 3, 4


def on_post(*faults: Fault) -> FaultHook:
    """Disturb the first, second, ... POST."""
    return lambda _, path, nth: faults[nth - 1] if path == POST and nth <= len(faults) else None


@pytest.mark.parametrize("dry_run", [False, True], ids=["", "dry run"])
def test_interrupted_posts_are_read_back_first(home: Home, client: StandIn, dry_run: bool) -> None:
    home.configure(post={"max_retries": 0})
    client.faults = from_then_on(POST, DROP_AFTER_WORK, then=DROP_BEFORE_WORK)
    assert home.run("update").exit_code == 3
    assert home.pairs("sending") == client.potentials

    client.faults = lambda *_: None
    client.clear_log()
    posted = home.update(*["--dry-run"] * dry_run)["pairs"]["posted"]
    paths = [request.path for request in client.requests]
    assert paths.index(READ) < paths.index("/get_files/search_files")
    assert rows(client) == []
    assert posted == (0 if dry_run else len(client.potentials))
    assert home.pairs("posted") == client.potentials
    assert not home.pairs("sending", "queued")


@pytest.mark.parametrize("still_match", [True, False])
def test_interrupted_posts_that_did_not_arrive_are_sent_if_they_still_match(
    home: Home, client: StandIn, still_match: bool
) -> None:
    home.configure(post={"max_retries": 1})
    client.faults = on_post(DROP_BEFORE_WORK, DROP_BEFORE_WORK)
    home.fail("update", expect=3, kind="hydrus_unreachable")
    interrupted = home.pairs("sending")

    if not still_match:
        home.configure(decision={"min_probability": 0.999})
        home.rebuild()
    home.update()
    assert client.potentials == interrupted if still_match else client.potentials < interrupted
    assert home.pairs("posted") == client.potentials
    assert not home.pairs("queued", "sending", "refused")
    assert_all_posted_once(client)


def test_a_rejected_row_costs_only_itself_in_this_run(home: Home, client: StandIn) -> None:
    total = home.update("--dry-run")["pairs"]["queued"]
    # Reject the batch, its first half, and so on down to a single row.
    client.faults = on_post(*[refuse(400)] * total.bit_length())
    pairs = home.update()["pairs"]
    assert 1 <= pairs["refused"] <= 2
    assert pairs["posted"] == total - pairs["refused"]
    refusals = home.run("stats", "--json").json["pairs"]["refusals"]
    assert sum(refusals.values()) == pairs["refused"]
    assert all("400" in reason for reason in refusals)

    home.update()
    assert len(client.potentials) == total
    assert_all_posted_once(client)


@pytest.mark.parametrize("relationship", [FALSE_POSITIVE, DUPLICATE, ALTERNATE])
def test_pairs_that_the_user_settled_stay_away(
    home: Home, client: StandIn, relationship: int
) -> None:
    home.update("--dry-run")
    before_posting = min(home.pairs("queued"), key=sorted)
    client.decide(*sorted(before_posting), relationship)
    assert home.update()["pairs"]["known"] >= 1
    assert before_posting in home.pairs("known")

    after_posting, removed, *_ = sorted(client.potentials, key=sorted)
    client.decide(*sorted(after_posting), relationship)
    client.remove_potentials(*removed)
    for min_probability in (1.0, 0.1):  # pairs stop matching, and match again
        home.configure(decision={"min_probability": min_probability})
        home.rebuild()
        home.update()
    assert before_posting not in rows(client)
    assert not {before_posting, after_posting, removed} & client.potentials
    assert_sent_once(client)


@pytest.mark.parametrize("king_in_trash", [False, True])
def test_a_pair_with_a_member_of_a_group_is_read_back_under_its_king(
    home: Home, client: StandIn, library: Library, king_in_trash: bool
) -> None:
    home.update("--dry-run")
    queued = home.pairs("queued")
    member, other = sorted(min(queued, key=sorted))
    king = next(file.hash for file in library if file.hash not in set().union(*queued))
    client.decide(king, member, BETTER)
    if king_in_trash:
        client.trash(king)
    assert home.update()["pairs"]["refused"] == 0
    assert frozenset((member, other)) in home.pairs("posted")
    assert king_in_trash or frozenset((king, other)) in client.potentials

    client.trash(king)
    home.update()
    assert_sent_once(client)


def test_v683_gets_the_pairs_that_v682_drops(home: Home, serve: Serve, library: Library) -> None:
    old = serve(library, hydrus_version=682)
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 0
    refused = outcome.json["pairs"]["refused"]
    assert refused == outcome.json["pairs"]["matched"] > 0
    assert "v682" in outcome.err
    assert "v683" in outcome.err
    assert old.potentials == frozenset()

    new = serve(library, hydrus_version=683)
    pairs = home.update()["pairs"]
    assert (pairs["posted"], pairs["scored"]) == (refused, 0)
    assert_all_posted_once(new)
