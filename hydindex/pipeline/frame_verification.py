"""Check doubtful pairs on frames of both videos."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
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
from hydindex.common.threads import cores, map_unordered, thread_pool
from hydindex.config.settings import Config
from hydindex.frames.packing import SampledFrames, frame_signatures, pack_frames
from hydindex.frames.verification import verify_frames
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.thumbnails import describe
from hydindex.hydrus.videos import VideoSource
from hydindex.matching.calibrated.model import load_model
from hydindex.pipeline.run_context import RunContext
from hydindex.pipeline.run_report import FrameCounts, PairCounts, RunReport, Steps
from hydindex.records.files import FetchFailure
from hydindex.records.pairs import BY_FRAMES, BY_THUMBNAILS, ScoredPair
from hydindex.records.pictures import PackedFrames
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


def verify_doubtful(run: RunContext, client: HydrusClient) -> Steps:
    """Verify the most probable of the waiting pairs, as many as the config allows in one run."""
    store = run.store.frames
    waiting = store.waiting(run.config.frames.max_per_run)
    if waiting:
        videos = VideoSource(client)
        sample = partial(_sample, client=client, videos=videos)
        # Twice as many threads as cores: while some wait for Hydrus, others decode.
        with (
            thread_pool(2 * cores(), "frames") as threads,
            run.progress("Verifying frames", len(waiting), "pair") as bar,
        ):
            for batch in batched(waiting, _BATCH_PAIRS):
                unsampled, failed = _confirm_ids(store.unsampled(_ids_of(batch)), client)
                sampled = 0
                for video, result in map_unordered(sample, unsampled, threads, ahead=_BATCH_PAIRS):
                    if isinstance(result, FetchFailure):
                        _log_failure(result)
                        failed.add(video.file_id)
                    elif result is not None:
                        store.save_frames(video.file_id, result)
                        sampled += isinstance(result, PackedFrames)
                ready = [each for each in batch if failed.isdisjoint(each.pair.ids)]
                yield _report(sampled=sampled, not_fetched=len(failed)) + _verdict_by_frames(
                    ready, run
                )
                bar.update(len(batch))
        yield _report(bytes=videos.fetched_bytes)
    yield _report(waiting=store.waiting_count())


def _confirm_ids(
    unsampled: Sequence[UnsampledVideo], client: HydrusClient
) -> tuple[list[UnsampledVideo], set[int]]:
    """Return the videos whose ids in Hydrus still denote them, and the ids of the others.

    The search checks only some of the stored ids.
    """
    confirmed, failed = [], set()
    described = describe(client, [video.file for video in unsampled])
    for video, current in zip(unsampled, described, strict=True):
        if isinstance(current, FetchFailure):
            _log_failure(current)
            failed.add(video.file_id)
        else:
            confirmed.append(video)
    return confirmed, failed


def _log_failure(failure: FetchFailure) -> None:
    log.warning("not verified: %s: %s", failure.file.sha256, failure.reason)


def _sample(
    video: UnsampledVideo, client: HydrusClient, videos: VideoSource
) -> tuple[UnsampledVideo, PackedFrames | FetchFailure | str | None]:
    """Sample a video, or return why that is impossible; None: Hydrus does not have it now."""
    from hydindex.frames.sampling import sample_frames  # an optional extra, slow to import

    file = video.file
    frames: SampledFrames | str
    if not video.size_bytes or not video.duration_ms:
        frames = "Hydrus does not know its size or its duration"
    else:
        try:
            with videos.opened(file, video.size_bytes) as opened:
                frames = sample_frames(opened, video.duration_ms)
        except HydrusRejected:
            log.info("Hydrus does not have %s; keeping the verdict of its thumbnail", file.sha256)
            return video, None
        except MemoryError:
            return video, FetchFailure(file, "there is not enough memory to decode it")
        except (HydrusUnreachable, HydrusBadReply) as error:
            client.version()  # raises if the client is gone: then no file is to blame
            return video, FetchFailure(file, error.message)
    if isinstance(frames, str):
        log.info("%s cannot be verified: %s", file.sha256, frames)
        return video, frames
    return video, pack_frames(frames)


def _verdict_by_frames(pairs: Sequence[ScoredPair], run: RunContext) -> RunReport:
    """Score pairs by their frames, and record which match.

    A pair with a video without frames keeps the verdict of its thumbnails.
    """
    videos = run.store.frames.load_frames(_ids_of(pairs))
    try:
        frames = frame_signatures(videos)
    except ValueError as error:
        raise IndexUnusable(
            f"Stored frames in the index are damaged: {error}", "Run hydindex rebuild --refetch."
        ) from None
    ids = [video.file_id for video in videos]
    verifiable = [each for each in pairs if set(each.pair.ids).issubset(ids)]
    probabilities = verify_frames(
        frames,
        np.searchsorted(ids, [each.pair.low for each in verifiable]),
        np.searchsorted(ids, [each.pair.high for each in verifiable]),
        model=load_model(run.config.decision.model),
    )
    updated = {each.pair: each for each in pairs}
    for each, probability in zip(verifiable, probabilities.tolist(), strict=True):
        features = {
            **(each.features or {}),
            BY_THUMBNAILS: round(each.score, 4),
            BY_FRAMES: round(probability, 4),
        }
        updated[each.pair] = replace(each, score=probability, features=features)
    matches = [each for each in updated.values() if each.score >= run.method.min_score]
    run.store.frames.record_verdicts(updated, matches)
    report = _report(
        verified=len(verifiable), unverifiable=len(pairs) - len(verifiable), matched=len(matches)
    )
    return report + RunReport(pairs=PairCounts(matched=len(matches)))


def _report(**counts: int) -> RunReport:
    return RunReport(frame_verification=FrameCounts(**counts))


def _ids_of(pairs: Sequence[ScoredPair]) -> NDArray[np.int64]:
    return np.unique(np.array([each.pair.ids for each in pairs], np.int64))
