"""`hydindex rebuild`: redoes what a changed config makes necessary, and posts nothing twice."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import pytest
from conftest import Home, fetched, rows
from PIL import Image

from hydindex.standin.faults import DROP_BEFORE_WORK
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]


def test_update_under_a_changed_config_does_nothing_and_says_why(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    before = home.index.read_bytes()
    client.clear_log()
    home.configure(preprocessing={"preBlurSigma": 0.8}, similarity_threshold=0.7)
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 4
    error = outcome.json["error"]
    assert error["kind"] == "config_changed"
    assert "preprocessing.preBlurSigma: 0.6 -> 0.8" in error["message"]
    assert "similarity_threshold: 0.6 -> 0.7" in error["message"]
    assert "rebuild" in error["remedy"]
    assert "every stored thumbnail" in error["remedy"]
    assert home.index.read_bytes() == before
    assert client.requests == []


@pytest.mark.parametrize(
    "change",
    [
        {"tags": ["system:filetype is video", "meta:demo"]},
        {"post": {"batch_size": 7}},
        {"timeouts": {"api": 5}},
        {"ahash": {"io_workers": 2, "prefixBits": 8}},
    ],
)
def test_other_keys_need_no_rebuild(
    home: Home, serve: Serve, library: list[HydrusFile], change: dict[str, object]
) -> None:
    serve(library)
    home.update()
    home.configure(**change)
    assert home.update()["pairs"]["scored"] == 0


def test_rebuild_fetches_nothing_and_posts_no_old_pair_again(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    before = client.potentials
    client.clear_log()
    home.configure(preprocessing={"preBlurSigma": 0.9}, similarity_threshold=0.3)
    rebuilt = home.rebuild()
    assert client.requests == []
    assert rebuilt["pairs"]["scored"] > 0
    assert rebuilt["pairs"]["posted"] == 0
    assert rebuilt["pairs"]["queued"] > 0

    result = home.update()
    assert result["pairs"]["posted"] == rebuilt["pairs"]["queued"]
    assert client.potentials > before
    assert len(rows(client)) == len(set(rows(client)))


def test_rebuilding_gives_what_a_fresh_index_gives(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.update("--dry-run")
    changed = {"ahash": {"resize": [32, 32], "hammingMax": 20}, "preprocessing": {"histEq": True}}
    home.configure(**changed)
    home.rebuild()
    rebuilt = home.pairs("queued")
    home.forget()
    home.update("--dry-run")
    assert rebuilt == home.pairs("queued")


def test_pairs_that_no_longer_match_leave_the_queue_unless_they_were_sent(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update("--dry-run")
    waiting = home.pairs("queued")
    home.configure(similarity_threshold=0.99)
    home.rebuild()
    assert home.pairs("queued") < waiting
    home.update()
    few = home.pairs("posted")
    assert few == client.potentials < waiting

    home.configure(similarity_threshold=1.0)
    home.rebuild()
    assert home.pairs("posted") == few


def test_a_threshold_alone_prepares_nothing_again(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.update()
    home.configure(similarity_threshold=0.9)
    outcome = home.run("rebuild", "--dry-run", "--json")
    assert outcome.json["work"]["files_to_prepare"] == 0
    assert outcome.json["work"]["files_to_compare"] == 40


def test_dry_run_says_how_much_work_it_is_and_changes_nothing(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    home.configure(preprocessing={"trimStrength": 0.2})
    before = home.index.read_bytes()
    client.clear_log()
    planned = home.rebuild("--dry-run")
    assert planned["changes"] == [{"key": "preprocessing.trimStrength", "old": 0.15, "new": 0.2}]
    assert planned["work"]["files_to_prepare"] == 40
    assert "trimStrength" in home.run("rebuild", "--dry-run").out
    assert home.index.read_bytes() == before
    assert client.requests == []
    assert home.rebuild()["pairs"]["candidates"] == planned["work"]["pairs_to_score_at_most"]


def test_the_announced_work_is_never_less_than_the_real(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.configure(ahash={"hammingMax": 24})
    home.update()
    home.configure(ahash={"resize": [16, 16]})
    planned = home.rebuild("--dry-run")["work"]["pairs_to_score_at_most"]
    assert planned >= home.rebuild()["pairs"]["candidates"] > 0


def test_rebuild_without_a_change_has_nothing_to_do(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.update()
    assert home.rebuild()["pairs"]["scored"] == 0
    assert "Nothing to redo" in home.run("rebuild", "--dry-run").out


def test_rebuild_needs_no_key_and_no_client(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    client.__exit__(None, None, None)
    home.configure(api_key="your-hydrus-api-key-here", similarity_threshold=0.7)
    home.rebuild()


def test_refetch_takes_changed_thumbnails_in_anew(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    scored = home.update("--dry-run")["pairs"]["scored"]
    pair = min(home.pairs("queued"), key=sorted)
    changed = next(file for file in library if file.hash == min(pair))
    picture = BytesIO()
    Image.effect_noise((150, 84), 90).save(picture, "PNG")
    client = serve(
        [
            replace(changed, thumbnail=picture.getvalue()) if file is changed else file
            for file in library
        ]
    )
    result = home.rebuild("--refetch")
    assert len(fetched(client)) == 40
    assert 0 < result["pairs"]["scored"] <= scored
    assert pair not in home.pairs("queued")
    assert home.update()["pairs"]["scored"] == 0


def test_refetch_of_the_same_thumbnails_ends_where_it_began(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    before = home.sql("SELECT * FROM pair ORDER BY low_id, high_id")
    home.rebuild("--refetch")
    assert home.sql("SELECT * FROM pair ORDER BY low_id, high_id") == before
    assert home.update()["pairs"]["posted"] == 0
    assert len(rows(client)) == len(set(rows(client)))


def test_a_damaged_array_is_mended_by_the_named_remedy(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library[:30])
    home.update()
    home.sql("UPDATE prepared_picture SET pixels = x'00'")
    client.add(library[30:])
    failed = home.run("update", "--json")
    assert failed.exit_code == 4
    assert "rebuild --refetch" in failed.json["error"]["remedy"]
    home.rebuild("--refetch")
    home.update()
    assert len(rows(client)) == len(set(rows(client)))


def test_a_refetch_gives_no_picture_up_for_a_placeholder(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    """Hydrus's folder of thumbnails is not mounted tonight, say."""
    serve(library)
    home.update("--dry-run")
    queued = home.pairs("queued")
    serve([replace(file, thumbnail=b"") for file in library])
    outcome = home.run("rebuild", "--refetch", "--json")
    assert outcome.exit_code == 1
    assert "rebuild --refetch tries again" in outcome.err
    assert outcome.json["files"]["unusable"] == 0
    assert home.pairs("queued") == queued


def test_a_refetch_without_permission_changes_nothing(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.update("--dry-run")
    before = home.sql("SELECT * FROM pair"), home.sql("SELECT * FROM file")
    home.configure(api_key=StandIn.SEARCH_ONLY_KEY, similarity_threshold=0.9)
    assert home.run("rebuild", "--refetch").exit_code == 3
    assert (home.sql("SELECT * FROM pair"), home.sql("SELECT * FROM file")) == before


def test_the_plan_counts_what_an_interrupted_rebuild_has_left(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    """Take the index back to the middle of a rebuild: some compared, some only fetched."""
    client = serve(library)
    home.update()
    client.trash(library[0].hash)
    home.update()
    for statement in (
        "UPDATE file SET compared_since = NULL WHERE id % 2",
        "UPDATE file SET compared_since = NULL, average_hash = NULL, state = 'fetched' "
        "WHERE id % 5 = 0",
    ):
        home.sql(statement)
    waiting = home.sql(
        "SELECT count(*), count(*) FILTER (WHERE state = 'fetched') FROM file "
        "WHERE compared_since IS NULL AND gone_at IS NULL"
    )[0]
    work = home.rebuild("--dry-run")["work"]
    assert (work["files_to_compare"], work["files_to_prepare"]) == waiting
    done = home.rebuild()["pairs"]["candidates"]
    assert 0 < done <= work["pairs_to_score_at_most"]


def test_a_refetch_cut_short_loses_nothing(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    client.clear_log()
    client.faults = lambda _, path, nth: (
        DROP_BEFORE_WORK
        if (path == "/get_files/thumbnail" and nth > 10) or (path == "/api_version" and nth > 1)
        else None
    )
    assert home.run("rebuild", "--refetch").exit_code == 3
    client.faults = lambda *_: None
    result = home.update()
    assert result["files"]["indexed"] == 40
    assert len(rows(client)) == len(set(rows(client)))


def test_rebuild_and_stats_without_an_index_say_what_to_do(home: Home) -> None:
    for words in (["rebuild"], ["rebuild", "--dry-run"], ["stats"]):
        outcome = home.run(*words, "--json")
        assert outcome.exit_code == 4
        assert outcome.json["error"]["kind"] == "index_missing"
        assert "hydindex update" in outcome.json["error"]["remedy"]
    assert not home.index.exists()
