"""Files that leave the library keep everything until `index.forget_gone_days` expires."""

import pytest
from conftest import Home, Library, Serve, fetched, rows

from hydindex.standin.server import StandIn

STORED = {
    "calibrated": ("thumbnail", "signature"),
    "threshold": ("thumbnail", "prepared_picture", "coarse_picture"),
}
LONG_AGO = "UPDATE file SET gone_at = '2020-01-01T00:00:00+00:00' WHERE gone_at IS NOT NULL"


def stored(home: Home, method: str = "calibrated") -> set[int]:
    """The row counts of the tables that store pictures."""
    return {home.sql(f"SELECT count(*) FROM {table}")[0][0] for table in STORED[method]}


@pytest.mark.parametrize("left", [0, 19, 20])
def test_a_library_that_loses_more_than_half_causes_a_warning_and_keeps_everything(
    home: Home, posted: StandIn, library: Library, left: int
) -> None:
    before = home.pairs("posted")
    for file in library[left:]:
        posted.trash(file.hash)
    outcome = home.run("update", "--quiet")
    assert outcome.exit_code == 0
    assert (f"finds {left} files; the last run found 40" in outcome.err) == (left < 20)
    assert (outcome.err == "") == (left == 20)
    assert stored(home) == {40}
    assert home.pairs("posted") == before

    for file in library[left:]:
        posted.restore(file.hash)
    posted.clear_log()
    again = home.update()
    assert again["files"]["returned"] == 40 - left
    assert again["pairs"]["scored"] == 0
    assert fetched(posted) == set()
    assert rows(posted) == []


@pytest.mark.parametrize("method", STORED)
def test_files_gone_for_long_lose_their_pictures_but_never_their_pairs(
    home: Home, serve: Serve, library: Library, method: str
) -> None:
    home.configure(decision={"method": method})
    client = serve(library)
    home.update()
    posted = home.pairs("posted")
    gone = sorted({name for pair in posted for name in pair})[:10]
    client.trash(gone[0])
    home.update()
    home.sql(LONG_AGO)
    for name in gone[1:]:
        client.trash(name)

    home.update()
    assert stored(home, method) == {40}  # by default, nothing is deleted
    home.configure(index={"forget_gone_days": 30})
    for _ in range(2):
        home.update()
        assert stored(home, method) == {39}
        assert home.pairs("posted") == posted

    for name in gone:
        client.restore(name)
    client.clear_log()
    again = home.update()
    assert again["files"]["returned"] == 10
    assert again["files"]["indexed"] == 40
    assert len(fetched(client)) == 1
    assert rows(client) == []
    assert home.pairs("posted") == posted
    assert stored(home, method) == {40}


def test_nothing_is_deleted_while_more_files_are_gone_than_remain(
    home: Home, posted: StandIn, library: Library
) -> None:
    home.configure(index={"forget_gone_days": 1})
    for file in library[15:]:
        posted.trash(file.hash)
    home.update()
    home.sql(LONG_AGO)
    assert "no thumbnails are deleted" in home.run("update", "--quiet").err
    assert stored(home) == {40}
