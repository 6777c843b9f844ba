"""Scoring as the libraries offer it: one pair after the other, on pictures that are ready."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hydindex.config.settings import Config
from hydindex.matching.candidates import CandidateRules, find_candidates
from hydindex.matching.preparation import Preparation
from hydindex.matching.threshold import reference
from hydindex.matching.threshold.packing import unpack_picture
from hydindex.records.pictures import Picture
from hydindex.store.store import Store


@dataclass(frozen=True, slots=True)
class CandidatePairs:
    """The pairs that the candidate rules let through, each by the ids of its files in order.

    `pictures` holds every picture once, unpacked.
    """

    pairs: list[tuple[int, int]]
    pictures: dict[int, Picture]

    @classmethod
    def of(cls, index: Store, config: Config) -> Self:
        """Find the candidates among all files of an index, and load their pictures."""
        files = index.comparisons.comparable()
        nobody = files[:0]
        pairs = [
            (min(file_id, rival_id), max(file_id, rival_id))
            for file_id, rivals in find_candidates(files, nobody, CandidateRules.of(config))
            for rival_id in rivals.ids.tolist()
        ]
        ids = np.unique(np.array(pairs, np.int64))
        shape = Preparation.of(config).shape
        pictures = (unpack_picture(each, shape) for each in index.files.packed_pictures(ids))
        return cls(pairs, dict(zip(ids.tolist(), pictures, strict=True)))

    def __len__(self) -> int:
        return len(self.pairs)

    def first(self, count: int) -> "CandidatePairs":
        """Give some of them."""
        return CandidatePairs(self.pairs[:count], self.pictures)

    def scores(self, config: Config) -> NDArray[np.float64]:
        """Score every pair by the library: pytorch-msssim or scikit-image, as the config says."""
        score = reference.ms_ssim if config.preprocessing.use_ms_ssim else reference.ssim
        return np.array([score(self.pictures[one], self.pictures[two]) for one, two in self.pairs])
