"""Which pairs match, and which files they link, by the plain definition."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import combinations, product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hydindex.config.settings import Config
from hydindex.matching.calibrated.calibrated_method import descriptor_for
from hydindex.matching.calibrated.descriptor import UNIT_LENGTH
from hydindex.matching.calibrated.features import compute_features
from hydindex.matching.calibrated.model import load_model, probabilities
from hydindex.matching.calibrated.signature import signature
from hydindex.matching.decoding import decode_thumbnail
from hydindex.matching.threshold import reference
from hydindex.matching.threshold.average_hash import average_hash
from hydindex.matching.threshold.preprocessing import preprocess
from hydindex.records.pictures import Picture, Signature, SignatureBatch
from hydindex.standin.state import HydrusFile

FileT = TypeVar("FileT", bound=Hashable)


@dataclass(frozen=True)
class Prepared:
    """A file as a method sees it; the calibrated one also looks at the content without bars."""

    name: str
    duration_ms: float
    ratios: list[float]
    picture: Picture | Signature
    average_hash: int = 0
    vector: NDArray[np.int8] | None = None

    @classmethod
    def of(cls, file: HydrusFile, config: Config) -> "Prepared":
        decoded = decode_thumbnail(file.thumbnail)
        ratio = (file.width or 0) / (file.height or 0)
        duration_ms = float(file.duration_ms or 0)
        if config.decision.method == "threshold":
            picture = preprocess(decoded, config.preprocessing)
            bits = average_hash(decoded, config.ahash.resize)
            return cls(file.hash, duration_ms, [ratio], picture, average_hash=bits)
        views = signature(decoded)
        ratios = [ratio, ratio * views.content_aspect_factor]
        (vector,) = descriptor_for(config.compare).embed([decoded])
        return cls(file.hash, duration_ms, ratios, views, vector=vector)


def score_candidates(files: Iterable[HydrusFile], config: Config) -> dict[frozenset[str], float]:
    """Return the score of every pair that the config lets a method score."""
    prepared = [Prepared.of(file, config) for file in files]
    return {
        frozenset((one.name, other.name)): _score(one, other, config)
        for one, other in combinations(prepared, 2)
        if _are_candidates(one, other, config)
    }


def matching_pairs(files: Iterable[HydrusFile], config: Config) -> dict[frozenset[str], float]:
    """Return the pairs that match, with their scores."""
    calibrated = config.decision.method == "calibrated"
    required = config.decision.min_probability if calibrated else config.similarity_threshold
    scores = score_candidates(files, config)
    return {pair: score for pair, score in scores.items() if score >= required}


def _are_candidates(one: Prepared, other: Prepared, config: Config) -> bool:
    rules, filters = config.candidate_generation, config.filters
    longer_ms = max(one.duration_ms, other.duration_ms)
    tolerance_ms = max(1000 * rules.tolerance_s, rules.tolerance_percent / 100 * longer_ms)
    if abs(one.duration_ms - other.duration_ms) > tolerance_ms:
        return False
    similar_ratios = any(
        abs(a - b) <= rules.aspect_ratio_tolerance * max(a, b)
        for a, b in product(one.ratios, other.ratios)
    )
    return (similar_ratios or not filters.use_ar_filter) and _look_alike(one, other, config)


def _look_alike(one: Prepared, other: Prepared, config: Config) -> bool:
    if one.vector is not None and other.vector is not None:
        similarity = int(one.vector.astype(int) @ other.vector.astype(int)) / UNIT_LENGTH**2
        return similarity >= descriptor_for(config.compare).min_similarity
    distance = (one.average_hash ^ other.average_hash).bit_count()
    return distance <= config.ahash.hamming_max or not config.filters.use_ahash_prefilter


def _score(one: Prepared, other: Prepared, config: Config) -> float:
    if isinstance(one.picture, Signature) and isinstance(other.picture, Signature):
        return _probability(one, one.picture, other, other.picture)
    uses_ms_ssim = config.preprocessing.use_ms_ssim
    score = reference.ms_ssim if uses_ms_ssim else reference.ssim
    return score(one.picture, other.picture)


def _probability(one: Prepared, views: Signature, other: Prepared, other_views: Signature) -> float:
    """Return the probability from all features."""
    model = load_model()
    both, both_views = (one, other), (views, other_views)
    pair = SignatureBatch(
        duration_ms=np.array([each.duration_ms for each in both]),
        aspect_ratio=np.array([each.ratios[0] for each in both]),
        content_aspect_ratio=np.array([each.ratios[1] for each in both]),
        has_bars=np.array([len(each.views) > 1 for each in both_views]),
        views=np.stack([each.views[[0, -1]] for each in both_views]),
    )
    _, features = compute_features(pair, np.array([0]), np.array([1]), min_structure=-1.0)
    if len(features) == 0 or features["structure_8px"][0] < model.min_structure:
        return 0.0
    return float(probabilities(features, model)[0])


def groups(pairs: Iterable[frozenset[FileT]]) -> set[frozenset[FileT]]:
    """Return the groups of files that pairs link."""
    joined: set[frozenset[FileT]] = set()
    for pair in pairs:
        touched = {group for group in joined if group & pair}
        joined = joined - touched | {pair.union(*touched)}
    return joined
