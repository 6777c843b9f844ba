"""What a run found and did, counted and timed while it goes on."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from hydindex.common.errors import ExitCode

T = TypeVar("T")
_adding = threading.Lock()
Stage = Literal["search", "fetch", "prepare", "compare", "look", "post", "total"]


class Progress(Protocol):
    """Shows how far a stage is, while its items pass through."""

    def __call__(self, items: Iterable[T], *, stage: str, total: int, unit: str) -> Iterator[T]:
        """Hand on the items one by one."""
        ...


def unseen(items: Iterable[T], *, stage: str, total: int, unit: str) -> Iterator[T]:  # noqa: ARG001
    """Show nothing: the progress of a stage within a stage."""
    yield from items


@dataclass
class FileCounts:
    """Files of the search's result: found = indexed + unusable + those not fetched."""

    found: int = 0
    new: int = 0
    gone: int = 0
    returned: int = 0
    unusable: int = 0
    indexed: int = 0


@dataclass
class KeptBackCounts:
    """Queued pairs that a run was not to post, as the config says.

    `doubtful` are less probable than `min_probability_to_post`; `implied` join files that other
    pairs join already (`pairs: "spanning"`); `later` are beyond `max_per_run`.
    """

    doubtful: int = 0
    implied: int = 0
    later: int = 0

    @property
    def total(self) -> int:
        """Pairs kept back for whatever reason."""
        return self.doubtful + self.implied + self.later


@dataclass
class PairCounts:
    """Pairs that a run dealt with; `queued` are those that wait, the ones kept back among them."""

    candidates: int = 0
    scored: int = 0
    matched: int = 0
    posted: int = 0
    known: int = 0
    refused: int = 0
    queued: int = 0


@dataclass
class MatcherCounts:
    """How the candidates were judged.

    By the threshold rule: `levels` tells for how many pairs each level of MS-SSIM had to be
    computed, and `settled` how many lay so near to the threshold that the library had the last
    word. By the calibrated decision: `weighed` is how many passed the gate.
    """

    levels: dict[str, int] = field(default_factory=lambda: dict.fromkeys("54321", 0))
    settled: int = 0
    weighed: int = 0

    def count_levels(self, levels: Sequence[int], entered: Sequence[int]) -> None:
        """Add how many pairs each level was computed for."""
        for level, count in zip(levels, entered, strict=True):
            self.levels[str(level)] += count


@dataclass
class SecondLookCounts:
    """Doubtful pairs that a run settled.

    It `looked_at` some again; of `unseen` ones the frames cannot be had, so that the first verdict
    stands; `matched` are those of both that match. `waiting` are left for the next run, some of
    them because of `not_fetched` videos. `sampled` videos were looked at for the first time, for
    which `bytes` came through the client.
    """

    looked_at: int = 0
    unseen: int = 0
    matched: int = 0
    waiting: int = 0
    sampled: int = 0
    not_fetched: int = 0
    bytes: int = 0


@dataclass
class StageSeconds:
    """How long each stage took.

    Files are fetched and prepared in the background while others are compared: `fetch` is how long
    the run had to wait for them, and `prepare` the time of the threads that prepare, divided by
    their number.
    """

    search: float = 0.0
    fetch: float = 0.0
    prepare: float = 0.0
    compare: float = 0.0
    look: float = 0.0
    post: float = 0.0
    total: float = 0.0


@dataclass
class Report:
    """All of it.

    `saved` counts files that were taken into the index so far, and `not_fetched` those that the
    next run asks for again.
    """

    files: FileCounts = field(default_factory=FileCounts)
    pairs: PairCounts = field(default_factory=PairCounts)
    kept_back: KeptBackCounts = field(default_factory=KeptBackCounts)
    sieve: MatcherCounts = field(default_factory=MatcherCounts)
    second_look: SecondLookCounts = field(default_factory=SecondLookCounts)
    seconds: StageSeconds = field(default_factory=StageSeconds)
    saved: int = 0
    not_fetched: int = 0

    def done(self) -> str:
        """Say in words what has been done so far."""
        return (
            f"{self.saved:,} files taken in, {self.pairs.scored:,} pairs scored, "
            f"{self.pairs.matched:,} of them match, {self.pairs.posted:,} posted"
        )

    def files_in_words(self) -> str:
        """Say which files the search found, and what became of them."""
        files = self.files
        not_fetched = f", {self.not_fetched:,} not fetched" if self.not_fetched else ""
        return (
            f"{files.found:,} found; {files.new:,} new, {files.gone:,} gone, "
            f"{files.returned:,} returned; {files.indexed:,} indexed, {files.unusable:,} unusable"
            f"{not_fetched}"
        )

    def posting_in_words(self) -> str:
        """Say what became of the pairs that match."""
        pairs = self.pairs
        return (
            f"{pairs.posted:,} posted, {pairs.known:,} known already, {pairs.refused:,} refused, "
            f"{pairs.queued:,} still queued"
        )

    def is_worth_a_word(self) -> bool:
        """Tell whether an update found or did anything, or leaves something to be seen to."""
        is_done = self.exit_code(posts=True) is ExitCode.DONE
        return bool(self.files.new or self.pairs.matched or self.pairs.posted or not is_done)

    def exit_code(self, *, posts: bool) -> ExitCode:
        """Tell whether all is done. A queue is left over only where the run was to post it."""
        unposted = self.pairs.queued - self.kept_back.total if posts else 0
        unfetched = self.not_fetched + self.second_look.not_fetched
        left_over = unfetched + self.pairs.refused + unposted
        return ExitCode.PARTLY_DONE if left_over else ExitCode.DONE

    def to_json(self) -> dict[str, Any]:
        """Give the parts of the report that `--json` prints and the index keeps."""
        seconds = {stage: round(value, 3) for stage, value in asdict(self.seconds).items()}
        return {
            "files": asdict(self.files),
            "pairs": asdict(self.pairs),
            "kept_back": asdict(self.kept_back),
            "sieve": asdict(self.sieve),
            "second_look": asdict(self.second_look),
            "seconds": seconds,
        }

    @contextmanager
    def timed(self, stage: Stage, *, threads: int = 1) -> Iterator[None]:
        """Add the time that a block takes to a stage, or this thread's share of many."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - started) / threads
            with _adding:
                setattr(self.seconds, stage, getattr(self.seconds, stage) + spent)

    def timed_each(self, stage: Stage, items: Iterable[T]) -> Iterator[T]:
        """Add the time that it takes to get each item, not to use it, to a stage."""
        waiting = iter(items)
        while True:
            with self.timed(stage):
                try:
                    item = next(waiting)
                except StopIteration:
                    return
            yield item
