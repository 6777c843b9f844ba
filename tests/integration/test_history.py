"""Random histories of a library, checked against a model of what the runs must do.

The model knows which pairs match under each config, by the plain definition, and which files were
together at the end of some run. Whatever the user adds, deletes, restores, decides, reconfigures or
interrupts in between, and whatever ids Hydrus gives the files: exactly those pairs are compared,
each once, and none is posted twice, or after the user decided it.
"""

import tempfile
from dataclasses import replace
from itertools import combinations, count, product
from pathlib import Path
from typing import Any

import pytest
from conftest import SHIPPED, THRESHOLD, Home, from_then_on, rows
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
from plain_definition import groups, matching_pairs, score_candidates
from sqlalchemy import Connection, Engine, event

from hydindex.config import config_file
from hydindex.demo.generated_library import generate_library
from hydindex.standin.server import DROP_AFTER_WORK, DROP_BEFORE_WORK, Fault, StandIn

Pair = frozenset[str]

# Twelve files of nearly the same length: some pairs match, some don't, and at the edges of the
# tolerance some aren't candidates.
FILES = [
    replace(file, duration_ms=10_000 + 400 * (number % 5))
    for number, file in enumerate(generate_library(seed=3, pictures=12))
]
SOME_FILES = st.sets(st.sampled_from(range(len(FILES))), max_size=6)
# With the number of pairs that match.
CONFIGS: list[tuple[dict[str, Any], int]] = [
    ({}, 12),
    ({"decision": {"min_probability": 0.9}, "post": {"pairs": "spanning"}}, 9),
    ({"decision": {"min_probability": 0.99}}, 9),
    ({"candidate_generation": {"tolSeconds": 0.5}}, 7),
    (THRESHOLD, 9),
    ({**THRESHOLD, "similarity_threshold": 0.2}, 32),
]
CONFIG_NUMBERS = st.integers(0, len(CONFIGS) - 1)
# Answers that all is done, but stores no pair of videos.
FORGETFUL_VERSION = 682


class History(RuleBasedStateMachine):
    """One home, one client, and the model of both."""

    capsys: pytest.CaptureFixture[str]
    verdicts: list[dict[Pair, bool]]

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.home = Home(Path(self._folder.name), self.capsys)
        self.client = StandIn()
        self.client.__enter__()
        self.config = self.made_with = 0
        self.present: set[str] = set()
        self.ever: set[str] = set()
        self.compared: set[Pair] = set()
        self.expected: set[Pair] = set()
        self.client_stores_pairs = True
        self.rows_seen = 0
        self.accepted: set[Pair] = set()
        self.duplicates: set[Pair] = set()
        self.decided: set[Pair] = set()
        self.removed: set[Pair] = set()

    @initialize(
        number=CONFIG_NUMBERS,
        first=st.none() | st.sets(st.sampled_from(range(len(FILES))), min_size=6),
    )
    def configure(self, number: int, first: set[int] | None) -> None:
        """Start without an index, or with that of an earlier run."""
        self._write_config(number)
        if first is not None:
            self.update(first, set(), dry_run=False)

    def _write_config(self, number: int) -> None:
        values: dict[str, Any] = dict(SHIPPED)
        values["post"] = {"retry_pause_s": 0.0, "max_retries": 0, "batch_size": 4}
        self.home = Home(self.home.folder, self.capsys)
        # One request after the other, so that a history can be repeated.
        values["network"] = {**SHIPPED["network"], "max_connections": 1}
        self.home.configure(self.client, **values)
        self.home.configure(**CONFIGS[number][0])
        self.config = number

    def library_changes(self, arriving: set[int], leaving: set[int]) -> None:
        """Import or restore files, and delete others."""
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
        """Move a file to the trash; delete every second one for good, with its pairs."""
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
        """Decide a pair, and with it all pairs between two groups of duplicates."""
        one, other = data.draw(st.sampled_from(self._decidable()))
        self.client.decide(one, other, relationship)
        self.decided |= set(map(frozenset, product(self._group(one), self._group(other))))
        if relationship == 2:
            self.duplicates.add(frozenset((one, other)))

    def _group(self, name: str) -> frozenset[str]:
        """The files that the user decided are duplicates of this one, and itself."""
        return next((each for each in groups(self.duplicates) if name in each), frozenset({name}))

    def _something_is_being_sent(self) -> bool:
        """Return whether a run may have posted pairs without reading them back.

        If the user removes such a pair, the next run can't know that it arrived.
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
        """Switch between a version that stores no pair of videos, and one that does."""
        self.client_stores_pairs = not self.client_stores_pairs
        self.client.hydrus_version = 683 if self.client_stores_pairs else FORGETFUL_VERSION

    @rule(data=st.data())
    @precondition(lambda self: self.client.ids)
    def hydrus_gives_files_other_ids(self, data: st.DataObject) -> None:
        """Continue with another database that has the same files."""
        names = list(self.client.ids)
        numbers = st.lists(
            st.integers(1, 2 * len(FILES)), unique=True, min_size=len(names), max_size=len(names)
        )
        self.client.replace_database(dict(zip(names, data.draw(numbers), strict=True)))

    @rule(number=CONFIG_NUMBERS)
    def change_config(self, number: int) -> None:
        self._write_config(number)

    @rule(refetch=st.booleans())
    @precondition(lambda self: self.home.index.exists())
    def rebuild(self, refetch: bool) -> None:
        self.home.rebuild(*["--refetch"] * refetch)
        if refetch or self.config != self.made_with:
            self._restart_comparing()
        self._compare(self._indexed("gone_at IS NULL"))

    @rule(refetch=st.booleans(), nth=st.integers(1, 6))
    @precondition(lambda self: self.home.index.exists())
    def rebuild_interrupted(self, refetch: bool, nth: int) -> None:
        before = self._comparisons()
        restarts = refetch or self.config != self.made_with
        self._run_interrupted(nth, "rebuild", *["--refetch"] * refetch)
        if restarts and self._comparisons() != before:
            self._restart_comparing()
        self._compare(self._indexed("compared_since IS NOT NULL"))

    def _run_interrupted(self, nth: int, *words: str) -> None:
        """Press Ctrl-C just before the nth commit of the index, if it comes to that."""
        commits = count(1)

        def press(_connection: Connection) -> None:
            if next(commits) == nth:
                raise KeyboardInterrupt

        event.listen(Engine, "commit", press)
        outcome = self.home.run(*words)
        event.remove(Engine, "commit", press)
        pressed = next(commits) > nth
        assert outcome.exit_code == (130 if pressed else 0), outcome

    @rule(arriving=SOME_FILES, leaving=SOME_FILES, dry_run=st.booleans())
    def update(self, arriving: set[int], leaving: set[int], dry_run: bool) -> None:
        self.library_changes(arriving, leaving)
        if self._drifted():
            assert self.home.run("update").exit_code == 4
            return
        self.made_with = self.config
        outcome = self.home.run("update", *["--dry-run"] * dry_run, "--json")
        report = outcome.json
        assert outcome.exit_code == 0, outcome
        assert not self.client_stores_pairs or report["pairs"]["refused"] == 0
        newly_compared = self._compare(self.present)
        assert report["files"]["found"] == report["files"]["indexed"] == len(self.present)
        assert report["pairs"]["scored"] == len(
            newly_compared & self.verdicts[self.made_with].keys()
        )
        if not dry_run:
            self._check_waiting_pairs()

    def _check_waiting_pairs(self) -> None:
        """After a complete run, only pairs wait whose files are linked through other pairs."""
        refused = {"refused"} if self.client_stores_pairs else set()
        waiting = self.home.pairs("queued", "sending", *refused)
        links = self.home.pairs(*{"known", "posted", "refused"} - refused)
        for pair in {pair for pair in waiting if pair <= self.present}:
            assert "post" in CONFIGS[self.config][0]  # spanning
            assert any(pair <= group for group in groups(links))

    @rule(arriving=SOME_FILES, leaving=SOME_FILES, nth=st.integers(1, 12))
    @precondition(lambda self: not self._drifted())
    def update_interrupted(self, arriving: set[int], leaving: set[int], nth: int) -> None:
        self.library_changes(arriving, leaving)
        self._run_interrupted(nth, "update")
        self.made_with = self.config
        self._compare(self._indexed("compared_since IS NOT NULL"))

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
        """The client stops answering at the nth request of a kind."""
        self.library_changes(arriving, leaving)
        earlier = sum(request.path.endswith(path) for request in self.client.requests)
        self.client.faults = from_then_on(path, fault, then=DROP_BEFORE_WORK, since=earlier + nth)
        outcome = self.home.run("update")
        gone = self.client.faults("GET", "", 0) is not None
        self.client.faults = lambda *_: None
        assert outcome.exit_code == (3 if gone else 0), outcome
        self.made_with = self.config
        if not gone or path == "set_file_relationships":  # posting follows comparing
            self._compare(self.present)

    @invariant()
    def no_pair_is_sent_that_was_accepted_or_decided(self) -> None:
        """A pair counts as accepted if the client stores pairs."""
        sent = rows(self.client)[self.rows_seen :]
        self.rows_seen += len(sent)
        assert self.accepted.isdisjoint(sent)
        assert self.decided.isdisjoint(sent)
        if self.client_stores_pairs:
            assert len(sent) == len(set(sent))
            self.accepted |= set(sent)

    @invariant()
    def what_the_user_decided_or_removed_does_not_come_back(self) -> None:
        potentials = self.client.potentials
        assert self.decided.isdisjoint(potentials)
        # Hydrus shows a pair of a group again once another member has one.
        for pair in self.removed & potentials:
            assert any(len(self._group(name)) > 1 for name in pair)

    @invariant()
    def the_matches_are_those_of_the_plain_definition(self) -> None:
        if not self._indexed("1") or self._drifted():
            return
        matching = {
            frozenset((low, high))
            for low, high, matches in self.home.pair_rows("matches")
            if matches
        }
        assert matching == self.expected

    def teardown(self) -> None:
        self.client.__exit__(None, None, None)
        if self.home.index.exists():
            self.home.assert_sound()
        self._folder.cleanup()

    def _decidable(self) -> list[list[str]]:
        """The pairs that Hydrus shows, and matches that the user may find before a run does."""
        found = {
            pair
            for pair, matches in self.verdicts[self.config].items()
            if matches and all(len(self._group(each)) == 1 for each in pair)
        }
        return sorted(map(sorted, self.client.potentials | (found - self.decided)))

    def _drifted(self) -> bool:
        return self.config != self.made_with and bool(self._indexed("1"))

    def _has_tables(self) -> bool:
        """Return whether the first run created the tables before it was interrupted."""
        if not self.home.index.exists():
            return False
        return bool(self.home.sql("SELECT 1 FROM sqlite_master WHERE name = 'file'"))

    def _indexed(self, condition: str) -> set[str]:
        """The files of the index that meet a condition."""
        if not self._has_tables():
            return set()
        found = self.home.sql(f"SELECT hex(sha256) FROM file WHERE {condition}")
        return {name.lower() for (name,) in found}

    def _comparisons(self) -> list[Any]:
        """What the index knows of comparisons, which a restart deletes."""
        if not self._has_tables():
            return []
        tables = ["* FROM index_state", "id, compared_since FROM file", "* FROM membership"]
        return [self.home.sql(f"SELECT {table}") for table in tables]

    def _restart_comparing(self) -> None:
        self.made_with = self.config
        self.compared.clear()
        self.expected.clear()

    def _compare(self, names: set[str]) -> set[Pair]:
        """Record that a run compared these files; return the pairs that are new."""
        newly_compared = {frozenset(pair) for pair in combinations(names, 2)} - self.compared
        self.compared |= newly_compared
        verdicts = self.verdicts[self.made_with]
        self.expected |= {pair for pair in newly_compared if verdicts.get(pair)}
        return newly_compared


@pytest.mark.parametrize(
    ("histories", "steps"),
    [pytest.param(15, 12, id="short"), pytest.param(100, 16, id="long", marks=pytest.mark.slow)],
)
def test_histories(
    histories: int, steps: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    History.capsys = capsys
    History.verdicts = []
    for changes, matches in CONFIGS:
        home = Home(tmp_path, capsys)
        home.configure(**SHIPPED)
        home.configure(**changes)
        config = config_file.load(home.config)
        matching = matching_pairs(FILES, config)
        assert len(matching) == matches
        candidates = score_candidates(FILES, config)
        History.verdicts.append({pair: pair in matching for pair in candidates})
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=histories,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
        ),
    )
