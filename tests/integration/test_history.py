"""Random histories of a library and its runs, against what the promises say must come of them.

The model knows which pairs match under each config, by the plain definition, and which pairs have
been together at the end of some run. Whatever is added, deleted, returned, decided, reconfigured
or cut off in between: just these are compared, each once, and none is ever posted twice.
"""

import json
import tempfile
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from conftest import FAST, Home, rows
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

from hydindex.demo.faults import DROP_AFTER_WORK, DROP_BEFORE_WORK, Fault
from hydindex.demo.library import generate_library
from hydindex.demo.standin import StandIn

Pair = frozenset[str]

# Twelve files of nearly the same length: some pairs match, some do not, and at the edges of the
# tolerance some are no candidates.
FILES = [
    replace(file, duration_ms=10_000 + 400 * (number % 5))
    for number, file in enumerate(generate_library(seed=3, pictures=12))
]
SOME_FILES = st.sets(st.sampled_from(range(len(FILES))), max_size=6)
# Under these 9, 22, 6 and 9 pairs match.
CONFIGS: list[dict[str, Any]] = [
    {},
    {"similarity_threshold": 0.2},
    {"similarity_threshold": 0.9, "preprocessing": {**FAST["preprocessing"], "preBlurSigma": 0.0}},
    {"ahash": {"hammingMax": 16}},
]


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

    @initialize()
    def configure(self) -> None:
        self._write_config(0)

    def _write_config(self, number: int) -> None:
        values: dict[str, Any] = {"tags": ["system:filetype is video"], **FAST}
        values["post"] = {"retry_pause_s": 0.0, "max_retries": 0, "batch_size": 4}
        self.home = Home(self.home.folder, self.capsys)
        self.home.configure(self.client, **{**values, **CONFIGS[number]})
        self.config = number

    def library_changes(self, arriving: set[int], leaving: set[int]) -> None:
        """Import or return files, and move others to the trash."""
        for number in sorted(arriving):
            name = FILES[number].hash
            if name in self.ever - self.present:
                self.client.restore(name)
            elif name not in self.ever:
                self.client.add([FILES[number]])
            self.present.add(name)
            self.ever.add(name)
        for name in self.present & {FILES[number].hash for number in leaving}:
            self.client.trash(name)
            self.present.remove(name)

    @rule(data=st.data(), relationship=st.sampled_from([1, 3]))
    @precondition(lambda self: self.client.potentials)
    def user_decides(self, data: st.DataObject, relationship: int) -> None:
        pair = data.draw(st.sampled_from(sorted(map(sorted, self.client.potentials))))
        self.client.decide(*pair, relationship)

    # Not while a run's work has been done but never been read back: such a pair, taken away before
    # the next run looks, is to that run one that never arrived.
    @rule(data=st.data())
    @precondition(lambda self: self.client.potentials and not self.home.pairs("sending"))
    def user_removes(self, data: st.DataObject) -> None:
        pair = data.draw(st.sampled_from(sorted(map(sorted, self.client.potentials))))
        self.client.remove_potentials(*pair)

    @rule(number=st.integers(0, len(CONFIGS) - 1))
    def change_config(self, number: int) -> None:
        self._write_config(number)

    @rule()
    def rebuild(self) -> None:
        if not self.home.index.exists():
            return
        self.home.rebuild()
        if self.config != self.made_with:
            self.made_with = self.config
            self._start_comparing_anew()
        self._meet(self._indexed_as_present())

    @rule(arriving=SOME_FILES, leaving=SOME_FILES, dry_run=st.booleans())
    def update(self, arriving: set[int], leaving: set[int], dry_run: bool) -> None:
        self.library_changes(arriving, leaving)
        if self._drifted():
            assert self.home.run("update").exit_code == 4
            return
        self.made_with = self.config
        report = self.home.update(*(["--dry-run"] if dry_run else []))
        newly_met = self._meet(self.present)
        assert report["files"]["found"] == report["files"]["indexed"] == len(self.present)
        assert report["pairs"]["scored"] == sum(self._is_candidate(pair) for pair in newly_met)
        if not dry_run:
            waiting = self.home.pairs("queued", "sending", "refused")
            assert not {pair for pair in waiting if pair <= self.present}

    @rule(
        arriving=SOME_FILES,
        leaving=SOME_FILES,
        path=st.sampled_from(["thumbnail", "file_metadata", "set_file_relationships"]),
        nth=st.integers(1, 2),
        fault=st.sampled_from([DROP_BEFORE_WORK, DROP_AFTER_WORK]),
    )
    def update_cut_off(
        self, arriving: set[int], leaving: set[int], path: str, nth: int, fault: Fault
    ) -> None:
        """From the nth request of a kind on, the client does not answer any more."""
        self.library_changes(arriving, leaving)
        if self._drifted():
            return
        gone = False

        def hook(_method: str, asked: str, count: int) -> Fault | None:
            nonlocal gone
            if asked.endswith(path) and count - earlier >= nth:
                gone = True
                return fault
            return DROP_BEFORE_WORK if gone else None

        earlier = sum(request.path.endswith(path) for request in self.client.requests)
        self.client.faults = hook
        exit_code = self.home.run("update").exit_code
        self.client.faults = lambda *_: None
        assert exit_code == (3 if gone else 0)
        self.made_with = self.config
        if not gone or path == "set_file_relationships":  # posting comes after comparing
            self._meet(self.present)

    @invariant()
    def nothing_is_posted_twice(self) -> None:
        sent = rows(self.client)
        assert len(sent) == len(set(sent))

    @invariant()
    def the_matches_are_those_of_the_plain_definition(self) -> None:
        if not self.home.index.exists() or self._drifted():
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
        self._folder.cleanup()

    def _drifted(self) -> bool:
        return self.config != self.made_with and self._holds_files()

    def _holds_files(self) -> bool:
        return self.home.index.exists() and bool(self.home.sql("SELECT 1 FROM file LIMIT 1"))

    def _indexed_as_present(self) -> set[str]:
        found = self.home.sql("SELECT hex(sha256) FROM file WHERE gone_at IS NULL")
        return {name.lower() for (name,) in found}

    def _start_comparing_anew(self) -> None:
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


def verdicts_of(config: dict[str, Any], folder: Path) -> dict[Pair, bool]:
    """Which pairs are candidates under a config, and whether they match: each pair by itself."""
    from hydindex import config as config_file
    from hydindex.match import reference
    from hydindex.model import Prepared
    from hydindex.prepare.thumbnail import Preparation, prepare

    path = folder / "config.json"
    path.write_text(json.dumps({**FAST, **config}))
    settings = config_file.load(path)
    ready: dict[str, Prepared] = {}
    for file in FILES:
        outcome = prepare(file.thumbnail, Preparation.of(settings))
        assert isinstance(outcome, Prepared)
        ready[file.hash] = outcome
    similarity = reference.ms_ssim if settings.preprocessing.use_ms_ssim else reference.ssim
    verdicts: dict[Pair, bool] = {}
    for a, b in combinations(FILES, 2):
        if not _are_candidates(a, b, ready[a.hash], ready[b.hash], settings.ahash.hamming_max):
            continue
        score = similarity(ready[a.hash].picture, ready[b.hash].picture)
        verdicts[frozenset((a.hash, b.hash))] = score >= settings.similarity_threshold
    return verdicts


def _are_candidates(a: Any, b: Any, one: Any, two: Any, hamming_max: int) -> bool:
    assert None not in (a.width, a.height, b.width, b.height, a.duration_ms, b.duration_ms)
    ratios = a.width / a.height, b.width / b.height
    return (
        abs(a.duration_ms - b.duration_ms) <= 1000
        and abs(ratios[0] - ratios[1]) <= 0.05 * max(ratios)
        and (one.average_hash ^ two.average_hash).bit_count() <= hamming_max
    )


def test_histories(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    History.capsys = capsys
    History.scores = [verdicts_of(config, tmp_path) for config in CONFIGS]
    assert any(any(verdicts.values()) for verdicts in History.scores)
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
