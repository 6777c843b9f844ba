"""An index that an earlier hydindex wrote, under the commands of today.

`tests/data/index_0001.db` was made by hydindex at revision 0001 with its own stand-in and the
fifteen files of `generate_library(seed=11)`, thumbnails reduced to 64 pixels and saved as PNG (JPEG
decoders differ in the last bit), that of file 15 replaced by what is no picture. The config had
`fixedResize` [45, 38], no MS-SSIM, `batch_size` 1 and `max_retries` 0. Four updates were run:

1. With files 1-3, 5, 6, 10 and 15: what matches is `posted`.
2. Files 1 and 5 were trashed; 4 was added, and told to be an alternate of 2: that pair is `known`.
3. File 5 was restored.
4. With all files but 1, and a Hydrus 682, which keeps no pair and was cut off at the second one:
   one pair is `refused`, one `sending`, the others `queued`.

Then it was vacuumed. `index_0002.db` was made in the same way at revision 0002; so were
`index_0003.db` and `index_0004.db` at theirs, by the calibrated decision. By it more pairs match.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from conftest import Home, count, rows

from hydindex.common import clock
from hydindex.config.config_file import load
from hydindex.config.settings import Config
from hydindex.demo.generated_library import generate_library
from hydindex.matching.calibrated.model import load_model
from hydindex.matching.preparation import Preparation, prepare
from hydindex.matching.recipe import recipe_of
from hydindex.matching.threshold.packing import pack, unpack_coarse, unpack_picture
from hydindex.matching.threshold.pyramid import coarse_shape
from hydindex.records.pictures import Prepared, Signature
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn
from hydindex.store.database import opened_database
from hydindex.store.migration import upgrade
from hydindex.store.schema import REVISION
from hydindex.store.store import open_for_writing

DATA = Path(__file__).parents[1] / "data"
THRESHOLD = {"method": "threshold"}
CALIBRATED = {"method": "calibrated"}
DECISIONS = {"0001": THRESHOLD, "0002": THRESHOLD, "0003": CALIBRATED, "0004": CALIBRATED}
"""The revisions of the older indexes, and the decision by which each was made."""
PREPROCESSING = {"fixedResize": [45, 38], "useMSSSIM": False}
WAITING = {"refused", "sending", "queued"}
SETTLED = {"posted", "known"}

Serve = Callable[..., StandIn]


@pytest.fixture(params=DECISIONS)
def revision(request: pytest.FixtureRequest) -> str:
    """The revision of an older index; a test that concerns one of them alone says so."""
    return str(request.param)


@pytest.fixture
def old(home: Home, revision: str) -> Home:
    """A home whose index was written yesterday, and whose config is still the same."""
    shutil.copy(DATA / f"index_{revision}.db", home.index)
    home.sql(f"UPDATE file SET checked_at = '{clock.now()}'")
    if DECISIONS[revision] == CALIBRATED:
        home.sql(
            "UPDATE index_state SET recipe = "
            f"json_set(recipe, '$.\"decision.model\"', '{load_model().fingerprint}')"
        )
    home.configure(tags=["meta:demo"], preprocessing=PREPROCESSING, decision=DECISIONS[revision])
    return home


@pytest.fixture
def client(old: Home, serve: Serve) -> StandIn:
    """The library that the index was made of, as the index tells of it."""
    columns = "hex(sha256), mime, size_bytes, width_px, height_px, duration_ms, num_frames"
    made = serve(
        [
            HydrusFile(
                hash=sha256.lower(),
                size=size,
                mime=mime,
                ext=".mp4",
                width=width,
                height=height,
                duration_ms=duration_ms,
                num_frames=num_frames,
                has_audio=False,
                tags=frozenset({"meta:demo"}),
                thumbnail=picture or b"no picture",
            )
            for sha256, mime, size, width, height, duration_ms, num_frames, picture in old.sql(
                f"SELECT {columns}, picture FROM file LEFT JOIN thumbnail ON file_id = file.id"
            )
        ]
    )
    ((away,),) = old.sql("SELECT lower(hex(sha256)) FROM file WHERE gone_at IS NOT NULL")
    made.trash(away)
    return made


def dump(path: Path, *tables: str) -> list[Any]:
    """All rows of some tables, or the whole file as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        if not tables:
            return list(connection.iterdump())
        return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


def copies(home: Home) -> list[Path]:
    return sorted(home.folder.glob("*.before-migration.bak"))


def is_sound(home: Home) -> bool:
    return home.sql("PRAGMA integrity_check") == [("ok",)] and not home.sql(
        "PRAGMA foreign_key_check"
    )


def check_signatures(path: Path, config: Config) -> int:
    """See that every signature in an index is what is made of its thumbnail today; count them."""
    with closing(sqlite3.connect(path)) as connection:
        kept = connection.execute(
            "SELECT picture, average_hash, content_hash, content_shape, views FROM file "
            "JOIN thumbnail ON thumbnail.file_id = file.id "
            "LEFT JOIN signature ON signature.file_id = file.id WHERE state = 'prepared'"
        ).fetchall()
    for thumbnail, average_hash, content_hash, content_shape, views in kept:
        made = prepare(thumbnail, Preparation.of(config))
        assert isinstance(made, Signature)
        assert average_hash % 2**64 == made.average_hash
        assert content_hash % 2**64 == made.content_hash
        assert content_shape == made.content_shape
        assert views == made.views.tobytes()
    return len(kept)


def check_pictures(path: Path, config: Config) -> int:
    """See that every picture in an index is what is made of its thumbnail today; count them."""
    preparation = Preparation.of(config)
    with closing(sqlite3.connect(path)) as connection:
        kept = connection.execute(
            "SELECT picture, average_hash, pixels, sums FROM file "
            "JOIN thumbnail ON thumbnail.file_id = file.id "
            "LEFT JOIN prepared_picture ON prepared_picture.file_id = file.id "
            "LEFT JOIN coarse_picture ON coarse_picture.file_id = file.id "
            "WHERE state = 'prepared'"
        ).fetchall()
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM prepared_picture), (SELECT count(*) FROM coarse_picture)"
        ).fetchone()
    assert counts == (len(kept), len(kept))
    for thumbnail, average_hash, pixels, sums in kept:
        prepared = prepare(thumbnail, preparation)
        assert isinstance(prepared, Prepared)
        shape = prepared.picture.shape
        assert average_hash % 2**64 == prepared.average_hash
        assert np.array_equal(unpack_picture(pixels, shape), prepared.picture)
        assert np.array_equal(unpack_coarse(sums, coarse_shape(shape)), prepared.coarse)
        assert sums == pack(prepared).sums
    return len(kept)


def config_of(**preprocessing: Any) -> Config:
    return Config.model_validate_json(json.dumps({"preprocessing": preprocessing}))


# An older index


def test_an_index_of_every_past_schema_is_kept() -> None:
    migrations = Path(__file__).parents[2] / "migrations" / "versions"
    revisions = {each.name[:4] for each in migrations.glob("[0-9]*.py")}
    assert set(DECISIONS) == revisions - {REVISION}


def test_the_older_index_is_what_these_tests_take_it_for(old: Home, revision: str) -> None:
    assert old.sql("SELECT version_num FROM alembic_version") == [(revision,)]
    assert dict(old.sql("SELECT state, count(*) FROM pair GROUP BY state")) == {
        "posted": 5, "known": 1, "refused": 1, "sending": 1,
        "queued": 9 if DECISIONS[revision] == THRESHOLD else 17,
    }  # fmt: skip
    assert dict(old.sql("SELECT state, count(*) FROM file GROUP BY state")) == {
        "prepared": 14, "unusable": 1
    }  # fmt: skip
    assert old.sql("SELECT count(*), count(compared_since) FROM file WHERE state = 'prepared'") == [
        (14, 13)
    ]
    assert old.sql("SELECT count(*) FROM file WHERE gone_at IS NOT NULL") == [(1,)]
    assert old.sql("SELECT count(*) FROM membership") == [(2,)]
    assert is_sound(old)


def test_reading_leaves_an_older_index_as_it_is_and_says_what_to_do(old: Home) -> None:
    before = dump(old.index)
    for words in (["stats"], ["rebuild", "--dry-run"]):
        outcome = old.run(*words, "--json")
        assert outcome.exit_code == 4
        assert outcome.json["error"]["kind"] == "index_outdated"
        assert "hydindex update" in outcome.json["error"]["remedy"]
    assert dump(old.index) == before
    assert copies(old) == []


@pytest.mark.parametrize("words", [["update"], ["update", "--dry-run"], ["rebuild"]])
def test_a_command_that_writes_copies_it_aside_and_brings_it_up_to_date(
    old: Home, client: StandIn, words: list[str]
) -> None:
    before = dump(old.index)
    assert old.run(*words).exit_code == 0
    (copy,) = copies(old)
    assert dump(copy) == before
    assert old.sql("SELECT version_num FROM alembic_version") == [(REVISION,)]
    assert is_sound(old)

    assert old.run(*words).exit_code == 0
    assert copies(old) == [copy]
    assert old.run("stats").exit_code == 0
    assert count(client, "/thumbnail") == 0


def old_columns(home: Home, revision: str, *tables: str) -> list[Any]:
    """All rows of some tables, as far as a revision had their columns."""
    with closing(sqlite3.connect(DATA / f"index_{revision}.db")) as first:
        columns = {
            table: ", ".join(row[1] for row in first.execute(f"PRAGMA table_info({table})"))
            for table in tables
        }
    return [home.sql(f"SELECT {columns[table]} FROM {table}") for table in tables]


def test_all_but_the_first_pictures_stays_row_by_row(old: Home, revision: str) -> None:
    """The step to 0002 makes others of them. What a step adds to the recipe is as it was."""
    tables = [
        name
        for (name,) in old.sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        if name not in ("prepared_array", "index_state", "alembic_version")
    ]
    assert {"file", "thumbnail", "pair", "membership", "run"} <= set(tables)
    before = old_columns(old, revision, *tables)
    ((recipe, next_step),) = old.sql("SELECT recipe, next_step FROM index_state")
    with open_for_writing(old.index):
        pass
    assert old_columns(old, revision, *tables) == before
    ((recipe_after, next_step_after),) = old.sql("SELECT recipe, next_step FROM index_state")
    by_threshold = DECISIONS[revision] == THRESHOLD
    added = {"decision.method": "threshold"} if by_threshold else {"frames.enabled": False}
    assert json.loads(recipe_after) == {**json.loads(recipe), **added}
    assert next_step_after == next_step
    assert old.sql("SELECT name FROM sqlite_master WHERE name LIKE '%array%'") == []
    assert is_sound(old)


def test_all_that_is_prepared_is_what_today_s_code_makes_of_its_thumbnail(
    old: Home, revision: str
) -> None:
    with open_for_writing(old.index):
        pass
    by_threshold = DECISIONS[revision] == THRESHOLD
    check = check_pictures if by_threshold else check_signatures
    assert check(old.index, load(old.config)) == 14


@pytest.mark.usefixtures("client")
def test_a_rebuild_after_it_has_nothing_to_redo(old: Home, revision: str) -> None:
    tables = ("file", "pair", "membership")
    before = old_columns(old, revision, *tables)
    result = old.rebuild()
    assert result["files"]["indexed"] == 13
    assert result["pairs"]["candidates"] == 0
    assert old_columns(old, revision, *tables) == before
    assert "Nothing to redo" in old.run("rebuild", "--dry-run").out


def test_the_next_update_fetches_and_compares_nothing_and_posts_what_waited(
    old: Home, client: StandIn
) -> None:
    compared = old.sql("SELECT id, compared_since FROM file")
    waiting, settled = old.pairs(*WAITING), old.pairs(*SETTLED)
    result = old.update()

    assert result["files"] == {
        "found": 14, "new": 0, "gone": 0, "returned": 0, "unusable": 1, "indexed": 13
    }  # fmt: skip
    assert result["pairs"]["candidates"] == result["pairs"]["scored"] == 0
    assert count(client, "/thumbnail") == count(client, "/file_metadata") == 0
    assert old.sql("SELECT id, compared_since FROM file") == compared

    sent = rows(client)
    assert len(sent) == len(set(sent)) == result["pairs"]["posted"] == len(waiting)
    assert set(sent) == waiting
    assert old.pairs(*SETTLED) == waiting | settled

    client.clear_log()
    assert old.update()["pairs"]["posted"] == 0
    assert rows(client) == []


def test_a_file_that_was_away_meets_only_those_that_came_meanwhile(
    old: Home, client: StandIn
) -> None:
    ((away,),) = old.sql("SELECT lower(hex(sha256)) FROM file WHERE gone_at IS NOT NULL")
    posted_before = old.pairs("posted")
    assert sum(away in pair for pair in posted_before) == 2

    client.restore(away)
    result = old.update()
    assert result["files"]["returned"] == result["pairs"]["scored"] == 1
    assert sum(away in pair for pair in rows(client)) == 1
    assert posted_before.isdisjoint(rows(client))
    assert count(client, "/thumbnail") == 0


# Damages that the step to 0002 meets, because it opens every picture

AT_0001 = pytest.mark.parametrize("revision", ["0001"])
DAMAGES = {
    "nothing but a zero": "pixels = x'00'",
    "nothing at all": "pixels = x''",
    "cut off": "pixels = substr(pixels, 1, length(pixels) / 2)",
    "too small": f"pixels = x'{zstandard.compress(bytes(10)).hex()}'",
    "far too large": f"pixels = x'28b52ffde0{(1 << 50).to_bytes(8, 'little').hex()}010000'",
}
IN_PAIRS = "(2, 5, 10, 12)"
"""Files of pairs that are posted, known, sending, refused or queued."""


@AT_0001
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_picture_is_prepared_again_from_its_thumbnail(
    old: Home, client: StandIn, damage: str
) -> None:
    old.sql(f"UPDATE prepared_array SET {damage} WHERE file_id IN {IN_PAIRS}")
    check_that_it_mends(old, client)


@AT_0001
def test_a_picture_that_is_missing_is_prepared_again_from_its_thumbnail(
    old: Home, client: StandIn
) -> None:
    old.sql(f"DELETE FROM prepared_array WHERE file_id IN {IN_PAIRS}")
    check_that_it_mends(old, client)


def check_that_it_mends(old: Home, client: StandIn) -> None:
    waiting, settled = old.pairs(*WAITING), old.pairs(*SETTLED)
    result = old.update()
    assert result["files"]["indexed"] == 13
    assert result["pairs"]["scored"] > 0
    assert count(client, "/thumbnail") == 0
    assert sorted(map(sorted, rows(client))) == sorted(map(sorted, waiting))
    assert old.pairs(*SETTLED) == waiting | settled
    assert check_pictures(old.index, config_of(**PREPROCESSING)) == 14
    assert old.sql("SELECT count(compared_since) FROM file") == [(13,)]
    assert is_sound(old)

    client.clear_log()
    assert old.update()["pairs"]["scored"] == 0
    assert rows(client) == []


@AT_0001
def test_a_file_that_is_gone_and_damaged_is_mended_and_meets_everyone_when_it_returns(
    old: Home, client: StandIn
) -> None:
    old.sql("UPDATE prepared_array SET pixels = x'00' WHERE file_id = 1")
    posted = old.pairs("posted")
    old.update()
    client.restore(old.sql("SELECT lower(hex(sha256)) FROM file WHERE id = 1")[0][0])
    result = old.update()
    assert result["files"]["returned"] == 1
    assert result["pairs"]["scored"] == 3
    assert posted.isdisjoint(rows(client))
    assert check_pictures(old.index, config_of(**PREPROCESSING)) == 14
    assert count(client, "/thumbnail") == 0


@AT_0001
@pytest.mark.parametrize(
    ("name", "obstacle"),
    [
        # The last statement of the first step makes one, too; the second step makes the other.
        ("ix_file_gone", "INDEX ix_file_gone ON file (gone_at)"),
        ("signature", "TABLE signature (file_id INTEGER)"),
    ],
)
def test_a_migration_that_fails_late_leaves_the_index_as_it_was(
    old: Home, client: StandIn, name: str, obstacle: str
) -> None:
    old.sql(f"CREATE {obstacle}")
    before = dump(old.index)
    outcome = old.run("update", "--json")
    assert outcome.exit_code == 4
    assert outcome.json["error"]["kind"] == "index_unusable"
    assert name in outcome.json["error"]["message"]
    assert dump(old.index) == before
    assert is_sound(old)
    assert client.requests == []

    old.sql(f"DROP {obstacle.split()[0]} {name}")
    assert old.update()["pairs"]["posted"] == 11


# Other recipes

RECIPES = {
    "as shipped": {},
    "in colour": {"toGray": False},
    "in colour, odd sizes": {"toGray": False, "fixedResize": [45, 38], "useMSSSIM": False},
    "nothing cut off": {"centerFrac": 1.0},
    "a small part": {"fixedResize": [61, 33], "centerFrac": 0.5, "useMSSSIM": False},
}


def write_index_0001(path: Path, config: Config, thumbnails: list[bytes]) -> None:
    """Write an index as it was at revision 0001, the last file of which waits to be prepared."""
    with opened_database(path) as engine:
        upgrade(engine, path, target="0001")
    # At that revision, pictures were cut to their central part each time they were compared.
    uncut = config.preprocessing.model_copy(update={"center_fraction": 1.0})
    preparation = Preparation.of(config.model_copy(update={"preprocessing": uncut}))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO index_state VALUES (1, ?, 2)", [json.dumps(recipe_of(config))]
        )
        for file_id, thumbnail in enumerate(thumbnails, start=1):
            prepared = prepare(thumbnail, preparation)
            assert isinstance(prepared, Prepared)
            average_hash = np.uint64(prepared.average_hash).astype(np.int64).item()
            connection.execute(
                "INSERT INTO file (sha256, state, checked_at, average_hash, compared_since) "
                "VALUES (?, 'prepared', 'now', ?, 1)",
                [file_id.to_bytes(32), average_hash],
            )
            connection.execute("INSERT INTO thumbnail VALUES (?, ?)", [file_id, thumbnail])
            connection.execute(
                "INSERT INTO prepared_array VALUES (?, ?)",
                [file_id, zstandard.compress(prepared.picture.tobytes(), 3)],
            )
        connection.execute(
            "UPDATE file SET state = 'fetched', average_hash = NULL, compared_since = NULL "
            "WHERE id = ?",
            [len(thumbnails)],
        )


@pytest.mark.parametrize("preprocessing", RECIPES.values(), ids=RECIPES)
def test_pictures_of_every_recipe_become_what_today_s_code_makes_of_their_thumbnails(
    preprocessing: dict[str, Any], tmp_path: Path
) -> None:
    path, config = tmp_path / "hydindex.db", config_of(**preprocessing)
    thumbnails = [file.thumbnail for file in generate_library(seed=5, pictures=6)]
    write_index_0001(path, config, thumbnails)
    with open_for_writing(path) as index:
        assert check_pictures(path, config) == 5
        assert index.recipe_changes(recipe_of(config)) == []
        # The sixth waits still: what was kept of it may be of an older recipe.
        assert [waits for waits, _ in index.files.unprepared(10)] == [6]


def test_an_older_index_without_any_file_is_brought_up_to_date_too(tmp_path: Path) -> None:
    path = tmp_path / "hydindex.db"
    with opened_database(path) as engine:
        upgrade(engine, path, target="0001")
    with open_for_writing(path) as index:
        assert index.summary().comparable_files == 0
