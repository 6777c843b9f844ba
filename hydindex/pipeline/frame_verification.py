"""Verify doubtful pairs by frames of both videos, and decide which of them match."""

import logging
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.common.batches import batched
from hydindex.common.errors import (
    ConfigError,
    HydrusBadReply,
    HydrusRejected,
    HydrusUnreachable,
    IndexUnusable,
)
from hydindex.common.threads import map_unordered, thread_pool
from hydindex.config.settings import Config
from hydindex.frames.packing import SampledFrames, frame_signatures, pack_frames
from hydindex.frames.verification import verify_frames
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.videos import VideoSource
from hydindex.matching.calibrated.model import load_model
from hydindex.matching.candidates import CandidateRules
from hydindex.pipeline.run_context import RunContext
from hydindex.pipeline.run_report import FrameCounts, PairCounts, RunReport
from hydindex.records.files import FetchFailure, FileRef, SearchResult
from hydindex.records.pairs import BY_FRAMES, ScoredPair
from hydindex.store.frame_store import UnsampledVideo

log = logging.getLogger(__name__)

# Pairs per transaction.
_BATCH_PAIRS: Final = 32


def require_decoder(config: Config) -> None:
    """Check that videos can be decoded, if the config asks for it.

    Raises:
        ConfigError: PyAV is missing.
    """
    if config.frames.enabled and find_spec("av") is None:
        raise ConfigError(
            "frames.enabled needs PyAV, which is not installed",
            "Install hydindex[frames], or set frames.enabled to false.",
        )


def verify_doubtful(
    found: SearchResult, run: RunContext, client: HydrusClient
) -> Generator[RunReport, None, None]:
    """Verify the most probable of the waiting pairs, as many as the config allows in one run."""
    store = run.store.frames
    waiting = store.waiting(run.config.frames.max_per_run)
    if waiting:
        videos = VideoSource(client)
        steps = _verify_batches(waiting, found, run, client, videos)
        for _, report in run.progress(
            steps,
            stage="Verifying frames",
            total=len(waiting),
            unit="pair",
            done=lambda step: step[0],
        ):
            yield report
        yield _report(bytes=videos.fetched_bytes)
    yield _report(waiting=store.waiting_count())


def _verify_batches(
    waiting: Sequence[ScoredPair],
    found: SearchResult,
    run: RunContext,
    client: HydrusClient,
    videos: VideoSource,
) -> Generator[tuple[int, RunReport], None, None]:
    # Twice as many threads as cores: while some wait for Hydrus, others decode.
    with thread_pool(2 * (os.cpu_count() or 1), "frames") as threads:
        for batch in batched(waiting, _BATCH_PAIRS):
            sampler = _Sampler(found, client, videos)
            unsampled = run.store.frames.unsampled(_ids_of(batch))
            sampled, failed = 0, set()
            for each in map_unordered(sampler.sample, unsampled, threads, ahead=len(unsampled)):
                if each.failure is not None:
                    log.warning(
                        "not verified: %s: %s", each.failure.file.sha256, each.failure.reason
                    )
                    failed.add(each.file_id)
                elif each.frames is None:
                    log.info("Hydrus does not have file %d: its thumbnail decides", each.file_id)
                else:
                    _save(each.file_id, each.frames, run)
                    sampled += isinstance(each.frames, SampledFrames)
            ready = [each for each in batch if failed.isdisjoint(each.pair.ids)]
            report = _report(sampled=sampled, not_fetched=len(failed)) + _decide(ready, run)
            yield len(batch), report


@dataclass(frozen=True, slots=True)
class _SampledVideo:
    """The frames of a video, or the reason why it has none.

    Without both, Hydrus does not have the file now. After a failure, the next run tries again.
    """

    file_id: int
    frames: SampledFrames | str | None = None
    failure: FetchFailure | None = None


class _Sampler:
    """Samples videos that the search found."""

    def __init__(self, found: SearchResult, client: HydrusClient, videos: VideoSource) -> None:
        self._found = found
        self._client = client
        self._videos = videos

    def sample(self, video: UnsampledVideo) -> _SampledVideo:
        """Sample a video."""
        from hydindex.frames.sampling import sample_frames  # an optional extra, slow to import

        file = self._ref(video.sha256)
        if not video.size_bytes or not video.duration_ms:
            return _SampledVideo(video.file_id, "Hydrus does not know its size or its duration")
        try:
            with self._videos.opened(file, video.size_bytes) as opened:
                return _SampledVideo(video.file_id, sample_frames(opened, video.duration_ms))
        except HydrusRejected:
            return _SampledVideo(video.file_id)
        except MemoryError:
            failure = FetchFailure(file, "there is not enough memory to decode it")
        except (HydrusUnreachable, HydrusBadReply) as error:
            self._client.version()  # raises if the client is gone: then no file is to blame
            failure = FetchFailure(file, error.message)
        return _SampledVideo(video.file_id, failure=failure)

    def _ref(self, sha256: bytes) -> FileRef:
        position = int(np.searchsorted(self._found.sha256, np.bytes_(sha256)))
        return FileRef(int(self._found.hydrus_ids[position]), sha256.hex())


def _save(file_id: int, frames: SampledFrames | str, run: RunContext) -> None:
    if isinstance(frames, str):
        log.info("file %d cannot be verified: %s", file_id, frames)
        run.store.frames.save_frames(file_id, frames)
    else:
        run.store.frames.save_frames(file_id, pack_frames(frames))


def _decide(pairs: Sequence[ScoredPair], run: RunContext) -> RunReport:
    """Decide pairs by their frames; where a video has none, the thumbnails decide."""
    videos = run.store.frames.frames(_ids_of(pairs))
    try:
        frames = frame_signatures(videos)
    except ValueError as error:
        raise IndexUnusable(
            f"The index holds damaged frames: {error}", "Run hydindex rebuild --refetch."
        ) from None
    position_of = {each.file_id: position for position, each in enumerate(videos)}
    verifiable = [each for each in pairs if position_of.keys() >= set(each.pair.ids)]
    positions = np.array(
        [[position_of[file_id] for file_id in each.pair.ids] for each in verifiable], np.intp
    ).reshape(-1, 2)
    probabilities = verify_frames(
        frames,
        positions[:, 0],
        positions[:, 1],
        aspect_ratio_tolerance=CandidateRules.of(run.config).aspect_ratio_tolerance,
        model=load_model(run.config.decision.model),
    )
    decided = {each.pair: each for each in pairs}
    for each, probability in zip(verifiable, probabilities.tolist(), strict=True):
        both = {"thumbnails": round(each.score, 4), BY_FRAMES: round(probability, 4)}
        features = {**(each.features or {}), **both}
        decided[each.pair] = replace(each, score=probability, features=features)
    matches = [each for each in decided.values() if each.score >= run.method.min_score]
    run.store.frames.settle(decided, matches)
    report = _report(
        verified=len(verifiable), unverifiable=len(pairs) - len(verifiable), matched=len(matches)
    )
    return report + RunReport(pairs=PairCounts(matched=len(matches)))


def _report(**counts: int) -> RunReport:
    return RunReport(frame_verification=FrameCounts(**counts))


def _ids_of(pairs: Sequence[ScoredPair]) -> NDArray[np.int64]:
    return np.unique(np.array([each.pair.ids for each in pairs], np.int64))
