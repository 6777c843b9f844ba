"""Match pairs by the probability that the model computes from their features."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.blocks import BlockResult, FileIds, MatcherCounts
from hydindex.matching.calibrated.aligned_views import AlignedViews
from hydindex.matching.calibrated.alignment import align
from hydindex.matching.calibrated.features import LAST_STAGE, Features
from hydindex.matching.calibrated.model import (
    CalibratedModel,
    may_reach,
    probabilities,
)
from hydindex.records.pairs import FilePair, ScoredPair
from hydindex.records.pictures import VIEW_PX, SignatureBatch
from hydindex.store.file_store import FileStore, damaged_picture

SIGNATURE: Final = "signature"
"""The name of the picture table that holds the views."""

DOUBTFUL_RANGE: Final = (0.02, 0.98)
"""Pairs in [0.02, 0.98) are verified by frames."""

_VIEW_BYTES: Final = VIEW_PX * VIEW_PX


@dataclass(frozen=True, slots=True)
class SignatureBlock:
    """Signatures of some files, and the pairs to match by the positions of their files."""

    file_ids: FileIds
    signatures: SignatureBatch
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    model: CalibratedModel
    min_probability: float
    verify_frames: bool

    def match(self) -> BlockResult:
        """Return the pairs that match, and the doubtful ones where frames are to be verified."""
        lowest = self.min_probability
        if self.verify_frames:
            lowest, _ = doubtful_range(self.min_probability)
        aligned = align(
            self.signatures, self.first, self.second, min_structure=self.model.min_structure
        )
        promising, features = self._measure(aligned, lowest)
        probability = probabilities(features, self.model)
        # Still images, which have no duration, have no frames.
        has_frames = ~np.isnan(features["duration_difference_ms"]) & self.verify_frames
        doubtful = is_doubtful(probability, self.min_probability) & has_frames
        first_ids = self.file_ids[self.first[promising.rows]]
        second_ids = self.file_ids[self.second[promising.rows]]
        (rows,) = np.nonzero((probability >= self.min_probability) | doubtful)
        return BlockResult(
            matches=[
                ScoredPair(
                    FilePair.of(int(first_ids[row]), int(second_ids[row])),
                    float(probability[row]),
                    features.of_pair(row),
                    is_doubtful=bool(doubtful[row]),
                )
                for row in rows.tolist()
            ],
            counts=MatcherCounts(similar_enough=len(aligned)),
            first=first_ids,
            second=second_ids,
            scores=probability,
        )

    def _measure(
        self, aligned: AlignedViews, min_probability: float
    ) -> tuple[AlignedViews, Features]:
        """Return the pairs that may reach a probability, and all their features."""
        features = Features({})
        for stage in range(LAST_STAGE + 1):
            features |= Features.measure(aligned, [stage])
            if stage < LAST_STAGE:
                may_match = may_reach(features, self.model, min_probability)
                aligned, features = aligned.select(may_match), features.select(may_match)
        return aligned, features


def load_signatures(files: FileStore, ids: FileIds) -> SignatureBatch:
    """Load the signatures of files, in the order of their ids.

    Raises:
        IndexUnusable: the index has no valid signature for one of them.
    """
    columns, packed = files.with_pictures(ids, SIGNATURE)
    for file_id, each in zip(ids.tolist(), packed, strict=True):
        if len(each) not in (_VIEW_BYTES, 2 * _VIEW_BYTES):
            raise damaged_picture(file_id)
    # A file without bars has one view, which serves as both.
    both_views = b"".join(each * 2 if len(each) == _VIEW_BYTES else each for each in packed)
    return SignatureBatch(
        duration_ms=columns.duration_ms,
        aspect_ratio=columns.aspect_ratio,
        content_aspect_ratio=columns.content_aspect_ratio,
        has_bars=np.array([len(each) > _VIEW_BYTES for each in packed], np.bool_),
        views=np.frombuffer(both_views, np.uint8).reshape(-1, 2, VIEW_PX, VIEW_PX),
    )


def is_doubtful(probability: NDArray[np.float64], min_probability: float) -> NDArray[np.bool_]:
    """Return which pairs are doubtful."""
    lowest, highest = doubtful_range(min_probability)
    return (lowest <= probability) & (probability < highest)


def doubtful_range(min_probability: float) -> tuple[float, float]:
    """Return the doubtful probabilities: DOUBTFUL_RANGE, widened to include `min_probability`."""
    lowest, highest = DOUBTFUL_RANGE
    return min(lowest, min_probability), max(highest, min_probability)
