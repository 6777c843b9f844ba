"""The outbox: whatever happens between hydindex and Hydrus, a pair is posted once, ever."""

from collections.abc import Callable

import pytest
from conftest import Home, count, rows

from hydindex.standin.faults import DROP_AFTER_WORK, DROP_BEFORE_WORK, GARBAGE, Fault, refuse
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]
POST = "/manage_file_relationships/set_file_relationships"
READ = "/manage_file_relationships/get_file_relationships"
FALSE_POSITIVE, DUPLICATE, ALTERNATE = 1, 2, 3


def on_post(*faults: Fault | None) -> Callable[[str, str, int], Fault | None]:
    """Put these faults in the way of the first, second, ... POST."""

    def hook(_method: str, path: str, nth: int) -> Fault | None:
        return faults[nth - 1] if path == POST and nth <= len(faults) else None

    return hook


def assert_all_posted_once(client: StandIn) -> None:
    sent = rows(client)
    assert len(sent) == len(set(sent)) == len(client.potentials) > 0


@pytest.mark.parametrize(
    "fault", [DROP_AFTER_WORK, GARBAGE], ids=["reply lost", "reply is no reply"]
)
def test_work_done_without_an_answer_is_read_back_not_repeated(
    home: Home, serve: Serve, library: list[HydrusFile], fault: Fault
) -> None:
    client = serve(library)
    client.faults = on_post(fault)
    result = home.update()
    assert result["pairs"]["posted"] == result["pairs"]["matched"]
    assert_all_posted_once(client)


@pytest.mark.parametrize("fault", [DROP_BEFORE_WORK, refuse(503)], ids=["cut off", "busy"])
def test_work_not_done_is_tried_again(
    home: Home, serve: Serve, library: list[HydrusFile], fault: Fault
) -> None:
    client = serve(library)
    client.faults = on_post(fault, fault)
    home.update()
    assert_all_posted_once(client)
    assert count(client, POST) == 3


def test_a_run_that_finds_pairs_half_sent_reads_back_before_all_else(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    """The first run's posts arrive, but their replies and every reading back are lost."""
    client = serve(library)
    home.configure(post={"max_retries": 0})
    client.faults = lambda _, path, nth: (
        DROP_AFTER_WORK if path == POST else DROP_BEFORE_WORK if path == READ and nth > 1 else None
    )
    assert home.run("update").exit_code == 3
    assert home.pairs("sending")
    earlier = len(client.requests)

    client.faults = lambda *_: None
    result = home.update()
    paths = [request.path for request in client.requests[earlier:]]
    assert paths.index(READ) < paths.index("/get_files/search_files")
    assert result["pairs"]["posted"] > 0
    assert not home.pairs("sending", "queued")
    assert_all_posted_once(client)


def test_pairs_half_sent_that_never_arrived_are_sent_by_the_next_run(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.configure(post={"max_retries": 1})
    client.faults = on_post(DROP_BEFORE_WORK, DROP_BEFORE_WORK)
    failed = home.run("update", "--json")
    assert failed.exit_code == 3
    assert failed.json["error"]["kind"] == "hydrus_unreachable"

    client.faults = lambda *_: None
    home.update()
    assert_all_posted_once(client)


def test_a_rejected_row_does_not_take_its_batch_down(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    # Whichever row is to blame: the batch, and each time the first half of it, is rejected.
    total = home.update("--dry-run")["pairs"]["queued"]
    halvings = total.bit_length()
    client.faults = on_post(*[refuse(400)] * halvings)
    result = home.update(expect=1)
    assert 1 <= result["pairs"]["refused"] <= 2
    assert result["pairs"]["posted"] == total - result["pairs"]["refused"]
    assert "400" in home.run("stats").out

    client.faults = lambda *_: None
    home.update()
    assert len(client.potentials) == total
    assert_all_posted_once(client)


@pytest.mark.parametrize("relationship", [FALSE_POSITIVE, DUPLICATE, ALTERNATE])
def test_a_pair_that_the_user_has_decided_is_known_and_never_sent(
    home: Home, serve: Serve, library: list[HydrusFile], relationship: int
) -> None:
    client = serve(library)
    home.update("--dry-run")
    pair = min(home.pairs("queued"), key=sorted)
    client.decide(*sorted(pair), relationship)
    result = home.update()
    assert result["pairs"]["known"] >= 1
    assert pair in home.pairs("known")
    assert pair not in rows(client)


@pytest.mark.parametrize("relationship", [FALSE_POSITIVE, DUPLICATE, ALTERNATE])
def test_a_decision_stands_whatever_is_rebuilt(
    home: Home, serve: Serve, library: list[HydrusFile], relationship: int
) -> None:
    client = serve(library)
    home.update()
    sent = len(rows(client))
    pair = min(client.potentials, key=sorted)
    client.decide(*sorted(pair), relationship)
    home.configure(preprocessing={"preBlurSigma": 0.9})
    home.rebuild()
    home.update()
    assert pair not in rows(client)[sent:]
    assert pair not in client.potentials


def test_a_pair_that_the_user_removed_does_not_come_back(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    pair = min(client.potentials, key=sorted)
    client.remove_potentials(*pair)
    for blur in (0.9, 0.3, 0.6):
        home.configure(preprocessing={"preBlurSigma": blur})
        home.rebuild()
        home.update()
    assert pair not in client.potentials
    assert rows(client).count(pair) == 1


def test_a_pair_with_a_member_of_a_group_reads_back_under_its_king(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update("--dry-run")
    queued = home.pairs("queued")
    member, other = sorted(min(queued, key=sorted))
    king = next(file.hash for file in library if file.hash not in set().union(*queued))
    client.decide(king, member, 4)  # 4: the first is the better one
    result = home.update()
    assert result["pairs"]["refused"] == 0
    assert frozenset((king, other)) in client.potentials
    assert frozenset((member, other)) in home.pairs("posted")

    client.trash(king)
    home.update()
    assert_sent_once(client)


def test_a_king_in_the_trash_hides_nothing_from_the_reading_back(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update("--dry-run")
    queued = home.pairs("queued")
    member, other = sorted(min(queued, key=sorted))
    king = next(file.hash for file in library if file.hash not in set().union(*queued))
    client.decide(king, member, 4)
    client.trash(king)
    result = home.update()
    assert result["pairs"]["refused"] == 0
    assert frozenset((member, other)) in home.pairs("posted")
    home.update()
    assert_sent_once(client)


def assert_sent_once(client: StandIn) -> None:
    assert len(rows(client)) == len(set(rows(client)))


def test_v682_is_told_apart_and_its_pairs_wait_for_v683(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    old = serve(library, hydrus_version=682)
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 1
    assert outcome.json["pairs"]["refused"] == outcome.json["pairs"]["matched"] > 0
    assert "v682" in outcome.err
    assert "v683" in outcome.err
    assert old.potentials == frozenset()

    new = serve(library, hydrus_version=683)
    result = home.update()
    assert result["pairs"]["posted"] == outcome.json["pairs"]["refused"]
    assert result["pairs"]["scored"] == 0
    assert_all_posted_once(new)


def test_pairs_are_posted_in_batches(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    client = serve(library)
    home.configure(post={"batch_size": 3, "do_default_merge": False})
    result = home.update()
    assert count(client, POST) == -(-result["pairs"]["posted"] // 3)
    assert_all_posted_once(client)


def test_a_key_revoked_in_mid_run_is_named_and_loses_nothing(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    client.faults = on_post(refuse(403))
    failed = home.run("update", "--json")
    assert failed.exit_code == 3
    assert failed.json["error"]["kind"] == "hydrus_access"
    client.faults = lambda *_: None
    home.update()
    assert_all_posted_once(client)


def test_a_pair_whose_sending_was_cut_short_is_not_sent_once_it_no_longer_matches(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.configure(post={"max_retries": 0})
    client.faults = on_post(DROP_BEFORE_WORK)
    assert home.run("update").exit_code == 3
    cut_short = home.pairs("sending")

    client.faults = lambda *_: None
    home.configure(similarity_threshold=0.99)
    home.rebuild()
    home.update()
    assert client.potentials < cut_short
    assert client.potentials == home.pairs("posted")
    assert not home.pairs("queued", "sending", "refused")


def test_a_dry_run_names_the_pairs_on_request(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    outcome = home.run("update", "--dry-run", "-v", "--json")
    named = [line for line in outcome.err.splitlines() if "would post" in line]
    assert len(named) == outcome.json["pairs"]["queued"] > 0


def test_a_dry_run_posts_nothing_whatever_it_finds_half_sent(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.configure(post={"max_retries": 0})
    client.faults = lambda _, path, nth: (
        DROP_AFTER_WORK if path == POST else DROP_BEFORE_WORK if path == READ and nth > 1 else None
    )
    home.run("update")
    client.faults = lambda *_: None
    assert home.update("--dry-run")["pairs"]["posted"] == 0
    assert home.pairs("posted") == client.potentials
