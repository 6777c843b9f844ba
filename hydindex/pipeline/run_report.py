"""What a run did: every stage yields reports of its steps, and these add up."""

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from hydindex.common.counts import Counts
from hydindex.matching.blocks import MatcherCounts

ResultT = TypeVar("ResultT")
Stage = Literal["search", "fetch", "prepare", "compare", "verify_frames", "post", "total"]


class ProgressBar(Protocol):
    """Shows how far a stage is."""

    def update(self, units: int, /) -> object:
        """Add completed units."""
        ...


Progress = Callable[[str, int, str], AbstractContextManager[ProgressBar]]
"""Opens a progress bar: the name of a stage, how many units it has in total, and of what."""


@dataclass(frozen=True)
class FileCounts(Counts):
    """Files of the search result: found = indexed + unusable + not yet fetched.

    - `found`: the files in the search result.
    - `new`: found files that the index did not know before.
    - `gone`: files that were present in the last run, and are not found now.
    - `returned`: files that were gone, and are found again.
    - `indexed`: found files with a usable thumbnail, at the end of the run.
    - `unusable`: found files without a usable thumbnail, at the end of the run.
    - `ingested`: files that the run fetched and saved, usable or not.
    - `not_fetched`: files that could not be fetched; the next run tries again.
    """

    found: int = 0
    new: int = 0
    gone: int = 0
    returned: int = 0
    indexed: int = 0
    unusable: int = 0
    ingested: int = 0
    not_fetched: int = 0


@dataclass(frozen=True)
class PairCounts(Counts):
    """Pairs that a run handled. `queued` pairs wait, including those that are held back."""

    scored: int = 0
    matched: int = 0
    posted: int = 0
    known: int = 0
    refused: int = 0
    queued: int = 0


@dataclass(frozen=True)
class HeldBackCounts(Counts):
    """Queued pairs that a run does not post; each is counted once, for the first reason.

    `shared_picture`: many files of different durations share the picture, and frames did
    not confirm the pair. `improbable`: below `post.min_probability_to_post`. `implied`: redundant,
    because other pairs link their files (`post.pairs: spanning`). `over_limit`: beyond
    `post.max_per_run`.
    """

    shared_picture: int = 0
    improbable: int = 0
    implied: int = 0
    over_limit: int = 0

    @property
    def total(self) -> int:
        """All pairs that are held back."""
        return self.shared_picture + self.improbable + self.implied + self.over_limit


@dataclass(frozen=True)
class FrameCounts(Counts):
    """Frame verification of doubtful pairs.

    `verified` pairs were checked on their frames. `unverifiable` ones keep the verdict of their
    thumbnails, because a video has no usable frames. `matched` counts the matches of both.
    `waiting` pairs are left for the next run. `sampled` videos were decoded, for which `bytes` were
    fetched.
    """

    verified: int = 0
    unverifiable: int = 0
    matched: int = 0
    waiting: int = 0
    sampled: int = 0
    not_fetched: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class StageSeconds(Counts):
    """Seconds per stage.

    Files are fetched and prepared in the background while others are compared: `fetch` is the time
    that the run waited for them, `prepare` the processor time divided by the number of cores.
    """

    search: float = 0.0
    fetch: float = 0.0
    prepare: float = 0.0
    compare: float = 0.0
    verify_frames: float = 0.0
    post: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class RunReport(Counts):
    """What a run, or a step of it, did."""

    files: FileCounts = field(default_factory=FileCounts)
    pairs: PairCounts = field(default_factory=PairCounts)
    held_back: HeldBackCounts = field(default_factory=HeldBackCounts)
    matcher: MatcherCounts = field(default_factory=MatcherCounts)
    frame_verification: FrameCounts = field(default_factory=FrameCounts)
    seconds: StageSeconds = field(default_factory=StageSeconds)

    def progress_text(self) -> str:
        """Return what has been done so far, in one line."""
        return (
            f"{self.files.ingested:,} files fetched, {self.pairs.scored:,} pairs scored, "
            f"{self.pairs.matched:,} matched, {self.pairs.posted:,} posted"
        )

    def files_text(self) -> str:
        """Return what became of the files, in one line."""
        files = self.files
        not_fetched = f", {files.not_fetched:,} not fetched" if files.not_fetched else ""
        return (
            f"{files.found:,} found; {files.new:,} new, {files.gone:,} gone, "
            f"{files.returned:,} returned; {files.indexed:,} indexed, {files.unusable:,} unusable"
            f"{not_fetched}"
        )

    def posting_text(self) -> str:
        """Return what became of the matching pairs, in one line."""
        pairs = self.pairs
        return (
            f"{pairs.posted:,} posted, {pairs.known:,} already known, {pairs.refused:,} refused, "
            f"{pairs.queued:,} queued"
        )

    def is_notable(self) -> bool:
        """Return whether an update found or did anything, or left something over."""
        done = self.files.new or self.pairs.matched or self.pairs.posted
        return bool(done or self.left_over(posts=True))

    def left_over(self, *, posts: bool) -> dict[str, int]:
        """Return what the next run retries; pairs count only if this run was to post them."""
        unposted = self.pairs.queued - self.held_back.total if posts else 0
        counts = {
            "files_not_fetched": self.files.not_fetched,
            "videos_not_fetched": self.frame_verification.not_fetched,
            "pairs_refused": self.pairs.refused,
            "pairs_queued": unposted,
        }
        return {name: count for name, count in counts.items() if count}

    def to_json(self) -> dict[str, Any]:
        """Return the report as `--json` prints it and the index keeps it."""
        report = asdict(self)
        report["pairs"]["candidates"] = self.pairs.scored  # every candidate is scored
        report["seconds"] = {stage: round(value, 3) for stage, value in report["seconds"].items()}
        return report


Steps = Generator[RunReport, None, None]


def timed(
    stage: Stage, steps: Generator[RunReport, None, ResultT]
) -> Generator[RunReport, None, ResultT]:
    """Yield the steps of a stage with the time that each took; return what the stage returns."""
    with closing(steps):
        while True:
            started = time.perf_counter()
            try:
                step = next(steps)
            except StopIteration as stop:
                yield seconds_of(stage, time.perf_counter() - started)
                result: ResultT = stop.value
                return result
            yield step + seconds_of(stage, time.perf_counter() - started)


def seconds_of(stage: Stage, seconds: float) -> RunReport:
    """Return a report of nothing but time."""
    return RunReport(seconds=StageSeconds(**{stage: seconds}))
