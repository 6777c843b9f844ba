"""`hydindex pairs` and `hydindex stats` show what the index holds, as text, JSON and CSV."""

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
ADD_UNUSABLE_FILE = (
    "INSERT INTO file (sha256, state, unusable_reason, checked_at) "
    "VALUES (randomblob(32), 'unusable', {}, '')"
)


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


def test_pairs_are_listed_by_descending_score_with_decisions_as_text_json_and_csv(
    home: Home, posted: StandIn
) -> None:
    pair = min(posted.potentials, key=sorted)
    posted.decide(*sorted(pair), SAME_QUALITY)
    home.update()
    listed = pairs(home)
    scores = [each["score"] for each in listed]
    assert scores == sorted(scores, reverse=True)
    assert {each["state"] for each in listed} == {"posted"}
    assert all(each["features"]["structure_8px"] <= 1.0 for each in listed)
    decisions = {
        frozenset((each["sha256_a"], each["sha256_b"])): each["decision"] for each in listed
    }
    assert decisions.keys() == home.pairs("posted")
    assert decisions[pair] == "duplicate"

    shown = home.run("pairs").out.splitlines()[2:]
    assert [line.split()[3:5] for line in shown] == [
        [each["sha256_a"], each["sha256_b"]] for each in listed
    ]
    columns = ("sha256_a", "sha256_b", "score", "state", "decision")
    rows = csv.DictReader(io.StringIO(home.run("pairs", "--csv").out))
    assert [[row[column] for column in columns] for row in rows] == [
        [str(each[column] or "") for column in columns] for each in listed
    ]


@pytest.mark.usefixtures("posted")
def test_pairs_are_filtered_by_state_and_score(home: Home) -> None:
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
    for words in (("--state", "lost"), ("--csv", "--json")):
        wrong = home.run("pairs", *words)
        assert wrong.exit_code == 2
        assert words[0] in wrong.err


@pytest.mark.usefixtures("posted")
def test_a_closed_pipe_is_no_error(home: Home) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # like `head -1`, only earlier
    command = [sys.executable, "-m", "hydindex", "pairs", "--json", "--config", str(home.config)]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.usefixtures("posted")
def test_control_characters_never_reach_the_terminal(home: Home) -> None:
    refuse_one(home, HOSTILE)
    home.sql(ADD_UNUSABLE_FILE.format("(SELECT reason FROM pair WHERE reason IS NOT NULL)"))
    for command in ("pairs", "stats"):
        shown = home.run(command).out
        assert "calc" in shown
        assert {each for each in shown if unicodedata.category(each)[0] == "C"} == {"\n"}
    (refused,) = pairs(home, "--state", "refused")
    assert refused["reason"] == HOSTILE


@pytest.mark.usefixtures("posted")
def test_stats_start_with_what_needs_attention(home: Home) -> None:
    calm = home.run("stats").out
    assert "attention" not in calm
    assert "#" in calm
    refuse_one(home, "it would not")
    home.sql(ADD_UNUSABLE_FILE.format("'it is a picture of nothing'"))
    home.sql("UPDATE run SET finished_at = '2020-01-01T00:00:00+00:00'")
    home.configure(decision={"min_probability": 0.7})
    lines = home.run("stats").out.splitlines()
    assert lines[0] == "Needs attention"
    attention = "\n".join(line for line in lines if line.startswith("  ! "))
    for remark in (
        "decision.min_probability: 0.6 -> 0.7",
        "hydindex rebuild",
        "the last successful update was",
        "refused pairs (1): it would not",
        "unusable files (1): it is a picture of nothing",
    ):
        assert remark in attention
    stats = home.run("stats", "--json").json
    assert stats["days_since_update"] > 2000
    assert len(stats["attention"]) == 4
    assert sum(stats["scores"]["bands"]) == len(pairs(home))
    home.configure(api_key="d" * 64, decision={"min_probability": 0.6})
    assert home.run("update").exit_code == 3
    assert "the last run failed" in home.run("stats").out
