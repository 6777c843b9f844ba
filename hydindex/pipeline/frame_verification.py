"""Looks again at doubtful pairs, at frames of both videos, and decides which of them match."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.common.errors import ConfigError, HydrusBadReply, HydrusRejected, HydrusUnreachable
from hydindex.common.threads import map_ahead
from hydindex.config.settings import Config
from hydindex.frames.verification import look_again
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.videos import VideoSource
from hydindex.matching.calibrated.model import load_model
from hydindex.matching.candidates import CandidateRules
from hydindex.pipeline.run_report import Progress, Report
from hydindex.records.files import FetchFailure, FileRef, SearchResult
from hydindex.records.pairs import BY_FRAMES, ScoredPair
from hydindex.records.pictures import SampledFrames
from hydindex.store.frame_store import UnsampledVideo
from hydindex.store.store import Store

log = logging.getLogger(__name__)

# Settled in one transaction.
_PAIRS_AT_ONCE: Final = 32


def require_decoder(config: Config) -> None:
    """Make sure that videos can be decoded, where the config asks for it.

    Raises:
        ConfigError: PyAV is missing.
    """
    if config.frames.enabled and find_spec("av") is None:
        raise ConfigError(
            "frames.enabled needs PyAV, which is not installed",
            "Install hydindex[frames], or set frames.enabled to false.",
        )


class FrameVerifier:
    """Settles doubtful pairs, through one client, for one run."""

    def __init__(
        self,
        found: SearchResult,
        index: Store,
        client: HydrusClient,
        config: Config,
        report: Report,
    ) -> None:
        self._found = found
        self._store = index.second_look
        self._client = client
        self._config = config
        self._report = report
        self._counts = report.second_look

    def settle_waiting(self, progress: Progress) -> None:
        """Look at the most probable of the pairs that wait, as many as the config lets one run."""
        waiting = self._store.waiting(self._config.frames.max_per_run)
        if waiting:
            videos = VideoSource(self._client)
            settled = self._settle_each(waiting, videos)
            try:
                for _ in progress(settled, stage="Looking again", total=len(waiting), unit="pair"):
                    pass
            finally:
                self._counts.bytes = videos.fetched_bytes
        self._counts.waiting = self._store.waiting_count()

    def _settle_each(
        self, waiting: Sequence[ScoredPair], videos: VideoSource
    ) -> Iterator[ScoredPair]:
        # While some wait for Hydrus, others decode.
        threads = ThreadPoolExecutor(2 * (os.cpu_count() or 1), thread_name_prefix="look")
        try:
            for start in range(0, len(waiting), _PAIRS_AT_ONCE):
                batch = waiting[start : start + _PAIRS_AT_ONCE]
                not_fetched = self._sample(batch, videos, threads)
                self._settle([each for each in batch if not_fetched.isdisjoint(each.pair.ids)])
                yield from batch
        finally:
            # A run that is stopped waits for no answer: threads that still do end with the process.
            threads.shutdown(wait=False, cancel_futures=True)

    def _sample(
        self, pairs: Sequence[ScoredPair], videos: VideoSource, threads: ThreadPoolExecutor
    ) -> set[int]:
        """Sample the videos of some pairs, where that is not done yet; give those not fetched."""
        unsampled = self._store.unsampled(_ids_of(pairs))
        wanted = np.zeros(len(self._found), np.bool_)
        wanted[np.searchsorted(self._found.sha256, [each.sha256 for each in unsampled])] = True
        found = {bytes.fromhex(each.sha256): each for each in self._found.chosen(wanted)}

        def sample(video: UnsampledVideo) -> tuple[int, SampledFrames | FetchFailure | str | None]:
            return video.file_id, self._sampled(video, found[video.sha256], videos)

        not_fetched = set()
        for file_id, frames in map_ahead(sample, unsampled, threads, ahead=len(unsampled)):
            if isinstance(frames, FetchFailure):
                log.warning("not looked at again: %s: %s", frames.file.sha256, frames.reason)
                self._counts.not_fetched += 1
                not_fetched.add(file_id)
                continue
            if frames is None:
                log.info("Hydrus does not have the file %d: the first look stands", file_id)
                continue
            if isinstance(frames, str):
                log.info("file %d cannot be looked at again: %s", file_id, frames)
            self._store.save_frames(file_id, frames)
            self._counts.sampled += 1
        return not_fetched

    def _sampled(
        self, video: UnsampledVideo, file: FileRef, videos: VideoSource
    ) -> SampledFrames | FetchFailure | str | None:
        """Sample a video, or say why that is not possible; None: Hydrus does not have it now."""
        from hydindex.frames.sampling import sample_frames  # an optional extra, and slow to import

        if not video.size_bytes or not video.duration_ms:
            return "Hydrus does not know its size or its duration"
        try:
            with videos.opened(file, video.size_bytes) as opened:
                return sample_frames(opened, video.duration_ms)
        except HydrusRejected:
            return None
        except MemoryError:
            return FetchFailure(file, "there is not enough memory to decode it")
        except (HydrusUnreachable, HydrusBadReply) as error:
            self._client.version()  # raises where the whole client is gone: no file is to blame
            return FetchFailure(file, error.message)

    def _settle(self, pairs: Sequence[ScoredPair]) -> None:
        """Decide pairs by their frames; where these are not to be had, the first verdict stands."""
        seen_ids, frames = self._store.frames(_ids_of(pairs))
        can_be_seen = set(seen_ids.tolist())
        seen = [each for each in pairs if can_be_seen.issuperset(each.pair.ids)]
        places = np.searchsorted(seen_ids, [each.pair.ids for each in seen]).reshape(-1, 2)
        likely = look_again(
            frames,
            places[:, 0],
            places[:, 1],
            aspect_ratio_tolerance=CandidateRules.of(self._config).aspect_ratio_tolerance,
            model=load_model(self._config.decision.model),
        )
        judged = {each.pair: each for each in pairs}
        for each, probability in zip(seen, likely.tolist(), strict=True):
            looks = {"thumbnails": round(each.score, 4), BY_FRAMES: round(probability, 4)}
            evidence = {**(each.evidence or {}), **looks}
            judged[each.pair] = replace(each, score=probability, evidence=evidence)
        least = self._config.decision.min_probability
        matches = [each for each in judged.values() if each.score >= least]
        self._store.settle(judged, matches)
        self._counts.looked_at += len(seen)
        self._counts.unseen += len(pairs) - len(seen)
        self._counts.matched += len(matches)
        self._report.pairs.matched += len(matches)


def _ids_of(pairs: Sequence[ScoredPair]) -> NDArray[np.int64]:
    return np.unique(np.array([each.pair.ids for each in pairs], np.int64))
