"""Runs compare the library by Hydrus's ids; whatever becomes of these, nothing is lost."""

import json
from collections.abc import Callable

import pytest
from conftest import THRESHOLD, Home, Library, Serve, assert_sent_once, at, count, fetched, rows

from hydindex.demo.generated_library import generate_library
from hydindex.standin.api import Reply
from hydindex.standin.server import Fault, StandIn, refuse

SEARCH, METADATA = "/get_files/search_files", "/get_files/file_metadata"
IDS_DIFFER = "file ids denote other files"
LONG_AGO = "UPDATE index_state SET hashes_listed_at = '2020-01-01T00:00:00+00:00'"


@pytest.fixture(scope="module")
def many() -> Library:
    """More files than a run checks."""
    return generate_library(seed=5, pictures=300)


def lists_hashes(client: StandIn) -> list[bool]:
    """Whether each search since the last clearing asked for the SHA-256 of all files."""
    searches = [each.query for each in client.requests if each.path == SEARCH]
    return [query["return_hashes"] == "true" for query in searches]


def identified(client: StandIn) -> set[int]:
    """The ids whose SHA-256 was asked for since the last clearing."""
    return {
        file_id
        for each in client.requests
        if "only_return_identifiers" in each.query
        for file_id in json.loads(each.query["file_ids"])
    }


def stored_ids(home: Home) -> dict[str, int]:
    """The ids that the index stores."""
    ids = home.sql("SELECT lower(hex(sha256)), hydrus_id FROM file WHERE hydrus_id IS NOT NULL")
    return dict(ids)


def assert_nothing_changed(home: Home, client: StandIn, *, warns: bool) -> None:
    """Run twice: no file has changed; at the end the ids are those of the client."""
    pairs = home.pairs("posted")
    for run in range(2):
        client.clear_log()
        outcome = home.run("update", "--json")
        files = outcome.json["files"]
        assert (files["found"], files["new"], files["gone"], files["returned"]) == (40, 0, 0, 0)
        assert files["ingested"] == 0
        assert fetched(client) == set()
        assert rows(client) == []
        assert (IDS_DIFFER in outcome.err) == (warns and run == 0)
        assert lists_hashes(client) == [False] + [True] * (warns and run == 0)
        assert stored_ids(home) == client.ids
    assert home.pairs("posted") == pairs


def test_a_quiet_run_asks_for_ids_only_and_checks_some(home: Home, posted: StandIn) -> None:
    assert lists_hashes(posted) == [True]  # the first run
    assert_nothing_changed(home, posted, warns=False)
    assert count(posted, METADATA) == 1
    assert identified(posted) == set(posted.ids.values())


def test_a_new_file_costs_its_own_hash_and_metadata(
    home: Home, serve: Serve, library: Library
) -> None:
    client = serve(library[:39])
    home.update()
    client.clear_log()
    client.add(library[39:])
    files = home.update()["files"]
    assert (files["new"], files["ingested"], files["indexed"]) == (1, 1, 40)
    assert lists_hashes(client) == [False]
    assert identified(client) == set(range(1, 41))
    described = [each.query for each in client.requests if each.path == METADATA][1:]
    assert [query["file_ids"] for query in described] == ["[40]"]
    assert fetched(client) == {"40"}
    assert stored_ids(home) == client.ids


@pytest.mark.parametrize(
    "renumbered",
    [
        pytest.param(lambda file_id: 41 - file_id, id="reversed"),
        pytest.param(lambda file_id: file_id % 40 + 1, id="shifted"),
        pytest.param(lambda file_id: {39: 40, 40: 39}.get(file_id, file_id), id="swapped"),
        pytest.param(lambda file_id: file_id + 20, id="half of them unknown"),
    ],
)
def test_another_database_with_the_same_files_changes_nothing(
    home: Home, posted: StandIn, renumbered: Callable[[int], int]
) -> None:
    posted.replace_database({each: renumbered(file_id) for each, file_id in posted.ids.items()})
    assert_nothing_changed(home, posted, warns=True)


@pytest.mark.parametrize(
    "renumbered",
    [
        pytest.param(lambda file_id: file_id + 1000, id="all unknown"),
        pytest.param(lambda file_id: 1000 if file_id == 7 else file_id, id="one unknown"),
    ],
)
def test_known_files_under_unknown_ids_are_not_new(
    home: Home, posted: StandIn, renumbered: Callable[[int], int]
) -> None:
    posted.replace_database({each: renumbered(file_id) for each, file_id in posted.ids.items()})
    assert_nothing_changed(home, posted, warns=False)


def test_files_whose_ids_are_not_stored_are_found_by_their_hashes(
    home: Home, posted: StandIn, library: Library
) -> None:
    """For example after a repair."""
    home.sql("UPDATE file SET hydrus_id = NULL")
    assert_nothing_changed(home, posted, warns=False)
    home.sql("UPDATE file SET hydrus_id = NULL WHERE id > 20")
    posted.trash(library[30].hash)
    files = home.update()["files"]
    assert (files["found"], files["new"], files["gone"], files["returned"]) == (39, 0, 1, 0)


def test_imports_after_a_restored_backup_reuse_ids_and_are_found(
    home: Home, serve: Serve, library: Library
) -> None:
    client = serve(library[:25])
    backup = dict(client.ids)
    client.add(library[25:33])
    home.update("--dry-run")
    client.replace_database(backup)
    client.add([*library[33:], library[25]])
    before = fetched(client)
    client.clear_log()
    outcome = home.run("update", "--json")
    files = outcome.json["files"]
    assert (files["found"], files["new"], files["gone"], files["returned"]) == (33, 7, 7, 0)
    assert IDS_DIFFER in outcome.err
    new = {str(client.ids[each.hash]) for each in library[33:]}
    assert new < before  # the same ids denoted other files
    assert fetched(client) == new
    assert stored_ids(home) == client.ids

    home.forget()
    whole = serve([*library[:26], *library[33:]])
    home.update()
    assert client.potentials == whole.potentials
    assert_sent_once(client)


def test_a_file_that_returns_under_another_id_is_not_fetched_again(
    home: Home, posted: StandIn, library: Library
) -> None:
    leaving = library[3].hash
    posted.trash(leaving)
    home.update()
    # Its id is free for another file.
    newcomer = generate_library(seed=4, pictures=1)[0]
    posted.add([newcomer])
    ids = {each: 50 if each == leaving else file_id for each, file_id in posted.ids.items()}
    posted.replace_database({**ids, newcomer.hash: posted.ids[leaving]})
    posted.restore(leaving)
    posted.clear_log()
    files = home.update()["files"]
    assert (files["new"], files["gone"], files["returned"]) == (1, 0, 1)
    assert lists_hashes(posted) == [False]
    assert fetched(posted) == {str(posted.ids[newcomer.hash])}
    assert stored_ids(home) == posted.ids
    assert_sent_once(posted)


def test_a_wrong_id_that_no_check_meets_is_corrected_within_a_week(
    home: Home, serve: Serve, many: Library
) -> None:
    home.configure(**THRESHOLD)
    client = serve(many)
    home.update("--dry-run")
    client.clear_log()
    home.update("--dry-run")
    assert len(identified(client)) <= 256
    assert identified(client) >= set(range(173, 301))  # the highest
    file_id = min(set(client.ids.values()) - identified(client))
    replaced = client.hashes[file_id]
    newcomer = generate_library(seed=6, pictures=1)[0]
    client.add([newcomer])
    ids = {**client.ids, newcomer.hash: file_id}
    client.replace_database({each: ids[each] for each in ids if each != replaced})
    missed = home.update("--dry-run")["files"]
    assert (missed["new"], missed["gone"]) == (0, 0)
    home.sql(LONG_AGO)
    found = home.update("--dry-run")["files"]
    assert (found["new"], found["gone"], found["indexed"]) == (1, 1, 300)

    # A file that is there under two ids shows that one of them is wrong.
    client.add([each for each in many if each.hash == replaced])
    client.replace_database({**client.ids, replaced: file_id, newcomer.hash: 400})
    client.clear_log()
    found = home.update("--dry-run")["files"]
    assert lists_hashes(client) == [False, True]
    assert (found["new"], found["returned"], found["indexed"]) == (0, 1, 301)
    assert stored_ids(home) == client.ids


@pytest.mark.parametrize("fails", ["refused", "left out"])
def test_new_files_are_found_without_identifiers(
    home: Home, serve: Serve, library: Library, fails: str
) -> None:
    client = serve(library[:30])
    home.update()
    client.clear_log()
    known = [{"file_id": number, "hash": each} for each, number in client.ids.items()]
    only_known = Reply(200, json.dumps({"metadata": known}).encode(), "application/json")
    client.add(library[30:])
    faults = {"refused": refuse(404), "left out": Fault(carried_out=True, instead=only_known)}
    client.faults = at(METADATA, faults[fails], times=1)
    outcome = home.run("update", "--json")
    files = outcome.json["files"]
    assert (files["new"], files["indexed"], files["gone"]) == (10, 40, 0)
    assert IDS_DIFFER not in outcome.err
    assert lists_hashes(client) == [False, True]
    assert_sent_once(client)


def test_many_unknown_ids_are_not_asked_for_one_by_one(
    home: Home, serve: Serve, many: Library
) -> None:
    home.configure(**THRESHOLD)
    client = serve(many)
    home.update("--dry-run")
    client.replace_database({each: number + 300 for each, number in client.ids.items()})
    client.clear_log()
    files = home.update("--dry-run")["files"]
    assert (files["new"], files["gone"]) == (0, 0)
    assert lists_hashes(client) == [False, True]
    assert count(client, METADATA) == 0


def test_a_key_restricted_by_tags_uses_only_ids_of_its_last_search(
    home: Home, serve: Serve, library: Library
) -> None:
    client = serve(library[:30])
    home.configure(api_key=client.RESTRICTED_KEY)
    home.update()
    client.add(library[30:35])
    client.trash(library[2].hash)
    client.clear_log()
    assert home.update()["files"]["new"] == 5
    assert lists_hashes(client) == [False]
    client.replace_database({each: 41 - file_id for each, file_id in client.ids.items()})
    client.add(library[35:])
    client.restore(library[2].hash)
    client.clear_log()
    files = home.update()["files"]
    assert lists_hashes(client) == [False, True]
    assert (files["new"], files["indexed"], files["returned"]) == (5, 40, 1)
    assert [each.path for each in client.requests if each.status == 403] == ["/get_files/thumbnail"]
    assert client.potentials == home.pairs("posted")
    assert_sent_once(client)
