"""Random histories of a library and its runs, against what the promises say must come of them.

The model knows which pairs match under each config, by the plain definition, and which pairs have
been together at the end of some run. Whatever is added, deleted, returned, decided, reconfigured,
interrupted or cut off in between: just these are compared, each once, and none is ever posted
twice, or after the user has had a word on it. Some configs decide by threshold, others by the
calibrated model.
"""

import json
import tempfile
from dataclasses import replace
from itertools import combinations, count, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHIPPED, THRESHOLD, Home, rows
from hydindex.matching.calibrated.probability import probabilities
from hydindex.matching.preparation import Preparation, prepare
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, event

from hydindex.config import config_file
from hydindex.config.settings import Config
from hydindex.demo.generated_library import generate_library
from hydindex.matching.calibrated.features import compute_features
from hydindex.matching.calibrated.model import load_model
from hydindex.matching.threshold import reference
from hydindex.records.pictures import Prepared, Signature, SignatureBatch
from hydindex.standin.faults import DROP_AFTER_WORK, DROP_BEFORE_WORK, Fault
from hydindex.standin.server import StandIn

Pair = frozenset[str]

# Twelve files of nearly the same length: some pairs match, some do not, and at the edges of the
# tolerance some are no candidates.
FILES = [
    replace(file, duration_ms=10_000 + 400 * (number % 5))
    for number, file in enumerate(generate_library(seed=3, pictures=12))
]
SOME_FILES = st.sets(st.sampled_from(range(len(FILES))), max_size=6)
# Under these 9, 22, 6, 9, 12 and 10 pairs match.
CONFIGS: list[dict[str, Any]] = [
    {},
    {"similarity_threshold": 0.2},
    {
        "similarity_threshold": 0.9,
        "preprocessing": {**THRESHOLD["preprocessing"], "preBlurSigma": 0.0},
    },
    {"ahash": {"hammingMax": 16}},
    {"decision": {"method": "calibrated"}},
    {
        "decision": {"method": "calibrated", "min_probability": 0.9},
        "post": {"pairs": "spanning"},
    },
]
CONFIG_NUMBERS = st.integers(0, len(CONFIGS) - 1)
# Answers that all is done, but keeps no pair of videos.
FORGETFUL_VERSION = 682


class CtrlC:
    """Is pressed just before the nth commit of the index, if there are so many."""

    def __init__(self, nth: int) -> None:
        self.pressed = False
        self._nth = nth
        self._commits = count(1)

    def __enter__(self) -> "CtrlC":
        event.listen(Engine, "commit", self._press)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "commit", self._press)

    def _press(self, _connection: Connection) -> None:
        if next(self._commits) == self._nth:
            self.pressed = True
            raise KeyboardInterrupt


class Groups:
    """Which files the user has called duplicates of each other."""

    def __init__(self) -> None:
        self._of: dict[str, frozenset[str]] = {}

    def of(self, name: str) -> frozenset[str]:
        return self._of.get(name, frozenset({name}))

    def merge(self, a: str, b: str) -> None:
        merged = self.of(a) | self.of(b)
        self._of |= dict.fromkeys(merged, merged)


class History(RuleBasedStateMachine):
    """One home, one client, and what is expected of them."""

    capsys: pytest.CaptureFixture[str]
    scores: list[dict[Pair, bool]]

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.home = Home(Path(self._folder.name), self.capsys)
        self.client = StandIn()
        self.client.__enter__()
        self.config = self.made_with = 0
        self.present: set[str] = set()
        self.ever: set[str] = set()
        self.met: set[Pair] = set()
        self.expected: set[Pair] = set()
        self.client_keeps_pairs = True
        self.rows_seen = 0
        self.kept: set[Pair] = set()
        self.groups = Groups()
        self.decided: set[Pair] = set()
        self.removed: set[Pair] = set()

    @initialize(
        number=CONFIG_NUMBERS,
        first=st.none() | st.sets(st.sampled_from(range(len(FILES))), min_size=6),
    )
    def configure(self, number: int, first: set[int] | None) -> None:
        """Begin with nothing at all, or, as most nights do, with what an earlier one left."""
        self._write_config(number)
        if first is not None:
            self.update(first, set(), dry_run=False)

    def _write_config(self, number: int) -> None:
        values: dict[str, Any] = {"tags": ["system:filetype is video"], **SHIPPED, **THRESHOLD}
        values["post"] = {"retry_pause_s": 0.0, "max_retries": 0, "batch_size": 4}
        self.home = Home(self.home.folder, self.capsys)
        # One request after the other, so that the same history always takes the same course.
        values["network"] = {**SHIPPED["network"], "max_connections": 1}
        self.home.configure(self.client, **values)
        self.home.configure(**CONFIGS[number])
        self.config = number

    def library_changes(self, arriving: set[int], leaving: set[int]) -> None:
        """Import or return files, and delete others."""
        for number in sorted(arriving):
            name = FILES[number].hash
            if name in self.ever - self.present:
                self.client.restore(name)
            elif name not in self.ever:
                self.client.add([FILES[number]])
            self.present.add(name)
            self.ever.add(name)
        for number in sorted(leaving):
            if FILES[number].hash in self.present:
                self._delete(number)

    def _delete(self, number: int) -> None:
        """Move a file to the trash; some do not even stay there, and take their pairs with them."""
        name = FILES[number].hash
        self.present.remove(name)
        if number % 2 or self._something_is_being_sent():
            self.client.trash(name)
            return
        shown = self.client.potentials
        self.client.delete(name)
        self.removed |= shown - self.client.potentials

    @rule(data=st.data(), relationship=st.sampled_from([1, 2, 3]))
    @precondition(lambda self: self._decidable())
    def user_decides(self, data: st.DataObject, relationship: int) -> None:
        """Decide a pair, which stands for all pairs between two groups of duplicates."""
        one, other = data.draw(st.sampled_from(self._decidable()))
        self.client.decide(one, other, relationship)
        self.decided |= set(map(frozenset, product(self.groups.of(one), self.groups.of(other))))
        if relationship == 2:
            self.groups.merge(one, other)

    def _something_is_being_sent(self) -> bool:
        """Tell whether a run's work may have been done but never been read back.

        Such a pair, taken away before the next run looks, is to that run one that never arrived.
        """
        return self._has_tables() and bool(self.home.pairs("sending"))

    @rule(data=st.data())
    @precondition(lambda self: self.client.potentials and not self._something_is_being_sent())
    def user_removes(self, data: st.DataObject) -> None:
        pair = data.draw(st.sampled_from(sorted(map(sorted, self.client.potentials))))
        shown = self.client.potentials
        self.client.remove_potentials(*pair)
        self.removed |= shown - self.client.potentials

    @rule()
    def hydrus_is_updated_or_downgraded(self) -> None:
        """Between a version that keeps no pair of videos, and one that does."""
        self.client_keeps_pairs = not self.client_keeps_pairs
        self.client.become(683 if self.client_keeps_pairs else FORGETFUL_VERSION)

    @rule(number=CONFIG_NUMBERS)
    def change_config(self, number: int) -> None:
        self._write_config(number)

    @rule(refetch=st.booleans())
    @precondition(lambda self: self.home.index.exists())
    def rebuild(self, refetch: bool) -> None:
        self.home.rebuild(*(["--refetch"] if refetch else []))
        if refetch or self.config != self.made_with:
            self._start_comparing_anew()
        self._meet(self._indexed("gone_at IS NULL"))

    @rule(refetch=st.booleans(), nth=st.integers(1, 6))
    @precondition(lambda self: self.home.index.exists())
    def rebuild_interrupted(self, refetch: bool, nth: int) -> None:
        before = self._comparisons()
        starts_anew = refetch or self.config != self.made_with
        with CtrlC(nth) as ctrl_c:
            outcome = self.home.run("rebuild", *(["--refetch"] if refetch else []))
        assert outcome.exit_code == (130 if ctrl_c.pressed else 0), outcome
        if starts_anew and self._comparisons() != before:
            self._start_comparing_anew()
        self._meet(self._indexed("compared_since IS NOT NULL"))

    @rule(arriving=SOME_FILES, leaving=SOME_FILES, dry_run=st.booleans())
    def update(self, arriving: set[int], leaving: set[int], dry_run: bool) -> None:
        self.library_changes(arriving, leaving)
        if self._drifted():
            assert self.home.run("update").exit_code == 4
            return
        self.made_with = self.config
        outcome = self.home.run("update", *(["--dry-run"] if dry_run else []), "--json")
        report = outcome.json
        assert outcome.exit_code == (0 if dry_run else self._exit_code_of_a_whole_run()), outcome
        newly_met = self._meet(self.present)
        assert report["files"]["found"] == report["files"]["indexed"] == len(self.present)
        assert report["pairs"]["scored"] == sum(self._is_candidate(pair) for pair in newly_met)
        if not dry_run:
            self._check_what_waits()

    def _check_what_waits(self) -> None:
        """Nothing does after a whole run; a spanning forest leaves what its own pairs join."""
        refused = {"refused"} if self.client_keeps_pairs else set()
        waiting = self.home.pairs("queued", "sending", *refused)
        told = self.home.pairs(*{"known", "posted", "refused"} - refused)
        for pair in {pair for pair in waiting if pair <= self.present}:
            assert self._is_spanning()
            assert is_joined_by(pair, told)

    @rule(arriving=SOME_FILES, leaving=SOME_FILES, nth=st.integers(1, 12))
    @precondition(lambda self: not self._drifted())
    def update_interrupted(self, arriving: set[int], leaving: set[int], nth: int) -> None:
        self.library_changes(arriving, leaving)
        with CtrlC(nth) as ctrl_c:
            outcome = self.home.run("update")
        expected = 130 if ctrl_c.pressed else self._exit_code_of_a_whole_run()
        assert outcome.exit_code == expected, outcome
        self.made_with = self.config
        self._meet(self._indexed("compared_since IS NOT NULL"))

    @rule(
        arriving=SOME_FILES,
        leaving=SOME_FILES,
        path=st.sampled_from(["thumbnail", "file_metadata", "set_file_relationships"]),
        nth=st.integers(1, 2),
        fault=st.sampled_from([DROP_BEFORE_WORK, DROP_AFTER_WORK]),
    )
    @precondition(lambda self: not self._drifted())
    def update_cut_off(
        self, arriving: set[int], leaving: set[int], path: str, nth: int, fault: Fault
    ) -> None:
        """From the nth request of a kind on, the client does not answer any more."""
        self.library_changes(arriving, leaving)
        gone = False

        def hook(_method: str, asked: str, count: int) -> Fault | None:
            nonlocal gone
            if asked.endswith(path) and count - earlier >= nth:
                gone = True
                return fault
            return DROP_BEFORE_WORK if gone else None

        earlier = sum(request.path.endswith(path) for request in self.client.requests)
        self.client.faults = hook
        outcome = self.home.run("update")
        self.client.faults = lambda *_: None
        assert outcome.exit_code == (3 if gone else self._exit_code_of_a_whole_run()), outcome
        self.made_with = self.config
        if not gone or path == "set_file_relationships":  # posting comes after comparing
            self._meet(self.present)

    @invariant()
    def nothing_is_sent_that_was_kept_or_decided(self) -> None:
        """Not even to a client that keeps nothing; what such a one was sent, was not posted."""
        sent = rows(self.client)[self.rows_seen :]
        self.rows_seen += len(sent)
        assert self.kept.isdisjoint(sent)
        assert self.decided.isdisjoint(sent)
        if self.client_keeps_pairs:
            assert len(sent) == len(set(sent))
            self.kept |= set(sent)

    @invariant()
    def what_the_user_has_settled_does_not_come_back(self) -> None:
        potentials = self.client.potentials
        assert self.decided.isdisjoint(potentials)
        # For a group of several, Hydrus shows a pair again once it has one with another member.
        for pair in self.removed & potentials:
            assert any(len(self.groups.of(name)) > 1 for name in pair)

    @invariant()
    def the_matches_are_those_of_the_plain_definition(self) -> None:
        if not self._holds_files() or self._drifted():
            return
        matching = {
            frozenset((low.lower(), high.lower()))
            for low, high in self.home.sql(
                "SELECT hex(low.sha256), hex(high.sha256) FROM pair "
                "JOIN file low ON low.id = low_id JOIN file high ON high.id = high_id "
                "WHERE matches"
            )
        }
        assert matching == self.expected

    def teardown(self) -> None:
        self.client.__exit__(None, None, None)
        if self.home.index.exists():
            assert self.home.sql("PRAGMA integrity_check") == [("ok",)]
            assert self.home.sql("PRAGMA foreign_key_check") == []
        self._folder.cleanup()

    def _decidable(self) -> list[list[str]]:
        """The pairs that Hydrus shows, and such as the user may find alike before any run does."""
        found = {
            pair
            for pair, matches in self.scores[self.config].items()
            if matches and all(len(self.groups.of(each)) == 1 for each in pair)
        }
        return sorted(map(sorted, self.client.potentials | (found - self.decided)))

    def _exit_code_of_a_whole_run(self) -> int:
        ((report,),) = self.home.sql("SELECT report FROM run ORDER BY id DESC LIMIT 1")
        refused = json.loads(report)["pairs"]["refused"]
        assert not (refused and self.client_keeps_pairs)
        return 1 if refused else 0

    def _is_spanning(self) -> bool:
        return "post" in CONFIGS[self.config]

    def _drifted(self) -> bool:
        return self.config != self.made_with and self._holds_files()

    def _holds_files(self) -> bool:
        return bool(self._indexed("1"))

    def _has_tables(self) -> bool:
        """Tell whether the first run came so far; else SQLite may not even have made the file."""
        if not self.home.index.exists():
            return False
        return bool(self.home.sql("SELECT 1 FROM sqlite_master WHERE name = 'file'"))

    def _indexed(self, condition: str) -> set[str]:
        """The files of the index of which something is true."""
        if not self._has_tables():
            return set()
        found = self.home.sql(f"SELECT hex(sha256) FROM file WHERE {condition}")
        return {name.lower() for (name,) in found}

    def _comparisons(self) -> list[Any]:
        """What the index keeps of what has been compared, which starting anew does away with."""
        if not self._has_tables():
            return []
        return [
            self.home.sql(f"SELECT {columns}")
            for columns in (
                "recipe, next_step FROM index_state",
                "id, compared_since FROM file",
                "* FROM membership",
            )
        ]

    def _start_comparing_anew(self) -> None:
        self.made_with = self.config
        self.met.clear()
        self.expected.clear()

    def _meet(self, names: set[str]) -> set[Pair]:
        """Note that these files were together at the end of a run; give the pairs that met."""
        newly_met = {frozenset(pair) for pair in combinations(names, 2)} - self.met
        self.met |= newly_met
        verdicts = self.scores[self.made_with]
        self.expected |= {pair for pair in newly_met if verdicts.get(pair)}
        return newly_met

    def _is_candidate(self, pair: Pair) -> bool:
        return pair in self.scores[self.made_with]


def is_joined_by(pair: Pair, links: set[Pair]) -> bool:
    """Tell whether one can walk from one file of a pair to the other along other pairs."""
    reached = frozenset([min(pair)])
    while more := {link for link in links if link & reached and not link <= reached}:
        reached = reached.union(*more)
    return pair <= reached


def verdicts_of(config: dict[str, Any], folder: Path) -> dict[Pair, bool]:
    """Which pairs are candidates under a config, and whether they match: each pair by itself."""
    path = folder / "config.json"
    path.write_text(json.dumps({**SHIPPED, **THRESHOLD, **config}))
    settings = config_file.load(path)
    made = {file.hash: prepare(file.thumbnail, Preparation.of(settings)) for file in FILES}
    by_model = settings.decision.method == "calibrated"
    matches = _match_by_model if by_model else _match_by_threshold
    return {
        frozenset((a.hash, b.hash)): matches(a, b, made[a.hash], made[b.hash], settings)
        for a, b in combinations(FILES, 2)
        if _are_candidates(a, b, made[a.hash], made[b.hash], settings.ahash.hamming_max)
    }


def _are_candidates(a: Any, b: Any, one: Any, two: Any, hamming_max: int) -> bool:
    ways = list(product(_looks(a, one), _looks(b, two)))
    return (
        abs(a.duration_ms - b.duration_ms) <= 1000
        and any(abs(r1 - r2) <= 0.05 * max(r1, r2) for (r1, _), (r2, _) in ways)
        and any((h1 ^ h2).bit_count() <= hamming_max for (_, h1), (_, h2) in ways)
    )


def _looks(file: Any, made: Prepared | Signature) -> list[tuple[float, int]]:
    """The aspect ratio and average hash of a file, and of what it shows without bars."""
    ratio = file.width / file.height
    if isinstance(made, Prepared):
        return [(ratio, made.average_hash)]
    return [(ratio, made.average_hash), (ratio * made.content_shape, made.content_hash)]


def _match_by_threshold(_a: Any, _b: Any, one: Any, two: Any, settings: Config) -> bool:
    return reference.ssim(one.picture, two.picture) >= settings.similarity_threshold


def _match_by_model(a: Any, b: Any, one: Any, two: Any, settings: Config) -> bool:
    ratios, hashes = zip(*(_looks(a, one) + _looks(b, two)), strict=True)
    files = SignatureBatch(
        duration_ms=np.array([a.duration_ms, b.duration_ms], np.float64),
        aspect_ratio=np.array(ratios[::2]),
        average_hash=np.array(hashes[::2], np.uint64),
        content_aspect_ratio=np.array(ratios[1::2]),
        content_hash=np.array(hashes[1::2], np.uint64),
        has_bars=np.array([len(each.views) > 1 for each in (one, two)]),
        views=np.stack([each.views[[0, -1]] for each in (one, two)]),
    )
    model = load_model()
    first, second = np.array([0]), np.array([1])
    weighed, evidence = compute_features(
        files, first, second, aspect_ratio_tolerance=0.05, gate=model.gate
    )
    likely = probabilities(evidence, model)
    return len(weighed) == 1 and float(likely[0]) >= settings.decision.min_probability


def test_histories(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    History.capsys = capsys
    History.scores = [verdicts_of(config, tmp_path) for config in CONFIGS]
    assert [sum(verdicts.values()) for verdicts in History.scores] == [9, 22, 6, 9, 12, 10]
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=70,
            stateful_step_count=16,
            suppress_health_check=list(HealthCheck),
        ),
    )
