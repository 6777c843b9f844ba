"""`hydindex pairs` and `hydindex stats` show what the index holds, whatever Hydrus calls things."""

import csv
import io
import os
import subprocess
import sys
import unicodedata
from typing import Any

import pytest
from conftest import Home

from hydindex.standin.server import StandIn

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n=cmd|'/c calc'!A0 \u202eevil \x9b31m"
SAME_QUALITY = 2


def pairs(home: Home, *words: str) -> list[dict[str, Any]]:
    outcome = home.run("pairs", *words, "--json")
    assert outcome.exit_code == 0
    listed: list[dict[str, Any]] = outcome.json["pairs"]
    return listed


def refuse_one(home: Home, reason: str) -> None:
    quoted = reason.replace("'", "''")
    home.sql(
        f"UPDATE pair SET state = 'refused', reason = '{quoted}' "
        "WHERE (low_id, high_id) = (SELECT low_id, high_id FROM pair ORDER BY score LIMIT 1)"
    )


def test_every_pair_is_listed_the_most_certain_first(home: Home, posted: StandIn) -> None:
    listed = pairs(home)
    assert {frozenset((each["sha256_a"], each["sha256_b"])) for each in listed} == posted.potentials
    scores = [each["score"] for each in listed]
    assert scores == sorted(scores, reverse=True)
    assert {each["state"] for each in listed} == {"posted"}
    assert all(each["features"]["structure_8px"] <= 1.0 for each in listed)
    shown = home.run("pairs").out.splitlines()[2:]
    assert [line.split()[3:5] for line in shown] == [
        [each["sha256_a"], each["sha256_b"]] for each in listed
    ]


@pytest.mark.usefixtures("posted")
def test_pairs_are_chosen_by_state_and_score(home: Home) -> None:
    refuse_one(home, "no")
    every = pairs(home)
    assert len(pairs(home, "--state", "refused")) == 1
    assert len(pairs(home, "--state", "posted")) == len(every) - 1
    assert pairs(home, "--state", "posted", "--state", "refused") == every
    middle = every[len(every) // 2]["score"]
    chosen = pairs(home, "--min-score", str(middle))
    assert chosen == [each for each in every if each["score"] >= middle]
    assert pairs(home, "--state", "queued") == []
    assert home.run("pairs", "--state", "queued").out == "No pairs.\n"


@pytest.mark.usefixtures("posted")
@pytest.mark.parametrize("words", [("--state", "lost"), ("--min-score", "2"), ("--csv", "--json")])
def test_a_wrong_choice_is_said(home: Home, words: tuple[str, ...]) -> None:
    outcome = home.run("pairs", *words)
    assert outcome.exit_code == 2
    assert words[0] in outcome.err


@pytest.mark.usefixtures("posted")
def test_that_nobody_reads_on_is_no_failure(home: Home) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `head -1` does, only earlier
    command = [sys.executable, "-m", "hydindex", "pairs", "--json", "--config", str(home.config)]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_what_the_user_decided_is_shown(home: Home, posted: StandIn) -> None:
    a, b = sorted(sorted(posted.potentials, key=sorted)[0])
    posted.decide(a, b, SAME_QUALITY)
    home.update()
    decided = {
        frozenset((each["sha256_a"], each["sha256_b"]))
        for each in pairs(home)
        if each["decision"] == "duplicate"
    }
    assert frozenset((a, b)) in decided


@pytest.mark.usefixtures("posted")
def test_csv_says_the_same_as_json(home: Home) -> None:
    listed = pairs(home)
    rows = list(csv.DictReader(io.StringIO(home.run("pairs", "--csv").out)))
    assert [
        (row["sha256_a"], row["sha256_b"], float(row["score"]), row["state"], row["decision"])
        for row in rows
    ] == [
        (each["sha256_a"], each["sha256_b"], each["score"], each["state"], each["decision"] or "")
        for each in listed
    ]


@pytest.mark.usefixtures("posted")
def test_nothing_that_is_shown_commands_the_terminal(home: Home) -> None:
    refuse_one(home, HOSTILE)
    home.sql("UPDATE file SET state = 'prepared'")
    home.sql(
        "INSERT INTO file (sha256, state, unusable_reason, checked_at) "
        "SELECT randomblob(32), 'unusable', reason, '' FROM pair WHERE reason IS NOT NULL"
    )
    for command in ("pairs", "stats"):
        shown = home.run(command).out
        assert "calc" in shown
        odd = {each for each in shown if unicodedata.category(each)[0] == "C"}
        assert odd == {"\n"}
    (refused,) = pairs(home, "--state", "refused")
    assert refused["reason"] == HOSTILE


@pytest.mark.usefixtures("posted")
def test_stats_begin_with_what_needs_attention(home: Home) -> None:
    calm = home.run("stats")
    assert "attention" not in calm.out
    assert calm.out.count("#") > 0
    refuse_one(home, "it would not")
    home.sql(
        "INSERT INTO file (sha256, state, unusable_reason, checked_at) "
        "VALUES (randomblob(32), 'unusable', 'it is a picture of nothing', '')"
    )
    home.sql("UPDATE run SET finished_at = '2020-01-01T00:00:00+00:00'")
    home.configure(decision={"min_probability": 0.7})
    lines = home.run("stats").out.splitlines()
    assert lines[0] == "Needs attention"
    told = "\n".join(line for line in lines if line.startswith("  ! "))
    assert "decision.min_probability: 0.6 -> 0.7" in told
    assert "hydindex rebuild" in told
    assert "the last good update was" in told
    assert "refused pairs (1): it would not" in told
    assert "unusable files (1): it is a picture of nothing" in told
    stats = home.run("stats", "--json").json
    assert stats["days_since_update"] > 2000
    assert len(stats["attention"]) == 4
    assert sum(stats["scores"]["bands"]) == len(pairs(home))


@pytest.mark.usefixtures("posted")
def test_a_run_that_ended_early_needs_attention(home: Home) -> None:
    home.configure(api_key="d" * 64)
    assert home.run("update").exit_code == 3
    assert "the last run failed" in home.run("stats").out
