"""Files that go: kept whatever the search says, and given up only when the user says when."""

from collections.abc import Callable

import pytest
from conftest import Home, fetched, rows

from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]
MADE_BY = {"threshold": ("prepared_picture", "coarse_picture"), "calibrated": ("signature",)}


def pictures(home: Home, method: str = "threshold") -> set[int]:
    """How many thumbnails, and how many of what a method makes of them, are kept."""
    tables = ("thumbnail", *MADE_BY[method])
    return {home.sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables}


@pytest.mark.parametrize("left", [0, 19])
def test_a_search_that_finds_less_than_half_is_told_and_costs_nothing(
    home: Home, serve: Serve, library: list[HydrusFile], left: int
) -> None:
    client = serve(library)
    home.update()
    told = home.pairs("posted")
    for file in library[left:]:
        client.trash(file.hash)
    outcome = home.run("update", "--quiet")
    assert outcome.exit_code == 0
    assert f"finds {left} files, where 40" in outcome.err
    assert pictures(home) == {40}
    assert home.pairs("posted") == told

    for file in library[left:]:
        client.restore(file.hash)
    client.clear_log()
    back = home.update()
    assert back["files"]["returned"] == 40 - left
    assert back["pairs"]["scored"] == 0
    assert fetched(client) == set()
    assert rows(client) == []


def test_half_of_a_library_may_go_without_a_word(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    for file in library[20:]:
        client.trash(file.hash)
    assert home.run("update", "--quiet").err == ""


@pytest.mark.parametrize("method", MADE_BY)
def test_files_long_gone_lose_their_pictures_but_never_their_pairs(
    home: Home, serve: Serve, library: list[HydrusFile], method: str
) -> None:
    home.configure(decision={"method": method})
    client = serve(library)
    home.update()
    told = home.pairs("posted")
    away = sorted({name for pair in told for name in pair})[:10]
    client.trash(away[0])
    home.update()
    home.sql("UPDATE file SET gone_at = '2020-01-01T00:00:00+00:00' WHERE gone_at IS NOT NULL")
    for name in away[1:]:
        client.trash(name)

    home.update()
    assert pictures(home, method) == {40}  # unless the config says so, nothing is ever given up
    home.configure(index={"forget_gone_days": 30})
    home.update()
    assert pictures(home, method) == {39}
    assert home.pairs("posted") == told
    home.update()
    assert pictures(home, method) == {39}

    for name in away:
        client.restore(name)
    client.clear_log()
    back = home.update()
    assert back["files"]["returned"] == 10
    assert back["files"]["indexed"] == 40
    assert len(fetched(client)) == 1
    assert rows(client) == []
    assert home.pairs("posted") == told
    assert pictures(home, method) == {40}


def test_an_empty_library_is_no_reason_to_forget_however_long_it_stays_so(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    home.configure(index={"forget_gone_days": 1})
    for file in library[15:]:
        client.trash(file.hash)
    home.update()
    home.sql("UPDATE file SET gone_at = '2020-01-01T00:00:00+00:00' WHERE gone_at IS NOT NULL")
    outcome = home.run("update", "--quiet")
    assert "nothing of them is forgotten" in outcome.err
    assert pictures(home) == {40}
