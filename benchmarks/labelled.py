"""Labelled libraries: which pairs are duplicates, and how each method scores them."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from measure import run_hydindex, write_config
from numpy.typing import NDArray
from PIL import Image

from hydindex.config.settings import Config
from hydindex.matching.calibrated.calibrated_method import descriptor_for
from hydindex.matching.calibrated.descriptor import UNIT_LENGTH
from hydindex.matching.calibrated.features import Features, compute_features
from hydindex.matching.calibrated.fitting import cross_validate, fit_model, random_folds
from hydindex.matching.calibrated.model import CalibratedModel, probabilities
from hydindex.matching.calibrated.retrieval import similar_files
from hydindex.matching.calibrated.signature import signature
from hydindex.matching.candidates import CandidateRules, Positions, find_candidates
from hydindex.matching.decoding import decode_thumbnail
from hydindex.pipeline.calibration import Quality
from hydindex.records.files import NOT_COMPARED, ComparableFiles
from hydindex.records.pictures import SignatureBatch
from hydindex.standin.server import StandIn
from hydindex.standin.state import HydrusFile, load_folder

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Verifier = Callable[[Floats, CalibratedModel], Floats]

MIN_STRUCTURE: Final = 0.1
"""`min_structure` of the shipped model."""
DIVISIONS: Final = 10
"""How many random divisions into folds a cross-validation uses."""
FITTED_SHARE: Final = 0.5
"""Models are fitted to pairs from this share of the descriptor's limit: more wrong pairs than
candidates alone have."""
SHOTS_OF_MANY: Final = ("one camera", "still cover", "intro ")
"""Sources in a library of whole videos that give many of them the same thumbnail."""
ORIGINAL_METHOD: Final = {
    "decision": {"method": "threshold"},
    "filters": {"use_ar_filter": True},
}
"""What the config of the original script has instead of the shipped values."""
NO_SCORE: Final = -np.inf
"""The score of a pair that is no candidate, or that was rejected before it had a score."""


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file, the source of its picture, and its alteration ("original": none).

    A whole video has several shots. `shares_with`: bases (see `HydrusFile`) that are no duplicates,
    but share a shot with it.
    """

    file: HydrusFile
    source: str
    alteration: str
    is_whole_video: bool = False
    shares_with: frozenset[str] = frozenset()


def load_labelled(folder: Path) -> list[LabelledFile]:
    """Load a folder with `files.json` and `thumbs/`, and `videos/` if there are any."""
    rows = json.loads((folder / "files.json").read_text(encoding="utf-8"))
    return [
        LabelledFile(
            file,
            source=" ".join(row["source"]) if isinstance(row["source"], list) else row["source"],
            alteration=row["variant"].replace("orig", "original"),
            is_whole_video=isinstance(row["source"], list),
            shares_with=frozenset(row.get("near", ())),
        )
        for file, row in zip(load_folder(folder, tags=()), rows, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class LabelledPairs:
    """All pairs of a library: parallel arrays (pairs,).

    `first`, `second`: the positions of the files. `alteration`: what makes the files different;
    "two" where both are altered, "none" where neither is.
    """

    files: Sequence[LabelledFile]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    is_duplicate: Bools
    alteration: NDArray[np.str_]

    @classmethod
    def of(cls, files: Sequence[LabelledFile]) -> Self:
        """Return all pairs of these files."""
        first, second = np.triu_indices(len(files), 1)
        pairs = list(combinations(files, 2))
        is_duplicate = [not one.file.base.isdisjoint(other.file.base) for one, other in pairs]
        alteration = [_alteration(one, other) for one, other in pairs]
        return cls(files, first, second, np.array(is_duplicate), np.array(alteration))

    def __len__(self) -> int:
        return len(self.first)

    def thumbnails_tell(self, rows: NDArray[np.intp]) -> Bools:
        """Return which of these pairs their thumbnails can tell.

        Of whole videos, two that share a shot may have the same thumbnail, and two altered copies
        thumbnails of different moments.
        """
        pairs = zip(self.first[rows], self.second[rows], self.is_duplicate[rows], strict=True)
        return np.array([self._thumbnails_tell(*pair) for pair in pairs], np.bool_)

    def _thumbnails_tell(self, first: int, second: int, is_duplicate: bool) -> bool:
        one, other = self.files[first], self.files[second]
        if not (one.is_whole_video and other.is_whole_video):
            return True
        if is_duplicate:
            return _alteration(one, other) != "two"
        share_a_shot = not one.shares_with.isdisjoint(other.file.base)
        return not share_a_shot and not any(
            shot in f"{one.source} {other.source}" for shot in SHOTS_OF_MANY
        )


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidates of the method `calibrated` and their features, without `min_structure`.

    There are also pairs of lower similarity, down to FITTED_SHARE: a model is fitted to them too,
    but only candidates are scored. `rows`: their positions among all pairs. `fitted_too`: another
    library that every model is fitted to, as far as thumbnails tell its pairs.
    """

    pairs: LabelledPairs
    rows: NDArray[np.intp]
    is_candidate: Bools
    features: Features
    fitted_too: Self | None = None

    @classmethod
    def of(
        cls, files: Sequence[LabelledFile], config: Config, fitted_too: Self | None = None
    ) -> Self:
        """Find the candidates of a library and compute their features."""
        pairs = LabelledPairs.of(files)
        pictures = [decode_thumbnail(each.file.thumbnail) for each in files]
        signatures, comparable = _signatures(files, pictures)
        descriptor = descriptor_for(config.compare)
        vectors = descriptor.embed(pictures)
        rules = CandidateRules.of(config)
        fitted_similarity = FITTED_SHARE * descriptor.min_similarity

        def preselect(sorted_files: ComparableFiles, positions: Positions) -> Iterator[Positions]:
            sorted_vectors = vectors[sorted_files.ids]
            return similar_files(sorted_vectors, sorted_files, positions, rules, fitted_similarity)

        is_similar = np.zeros((len(files), len(files)), np.bool_)
        for one, others in find_candidates(comparable, comparable[:0], rules, preselect):
            is_similar[one, others.ids] = is_similar[others.ids, one] = True
        rows = np.flatnonzero(is_similar[pairs.first, pairs.second])
        has_features, features = compute_features(
            signatures,
            pairs.first[rows],
            pairs.second[rows],
            min_structure=-np.inf,
        )
        rows = rows[has_features]
        both = (vectors[side[rows]].astype(np.float64) for side in (pairs.first, pairs.second))
        similarity = np.einsum("ij,ij->i", *both) / UNIT_LENGTH**2
        return cls(pairs, rows, similarity >= descriptor.min_similarity, features, fitted_too)

    @property
    def is_duplicate(self) -> Bools:
        """Which of these pairs are duplicates."""
        return self.pairs.is_duplicate[self.rows]

    def in_all(self, values: Floats) -> Floats:
        """Return values of these pairs as an array of all pairs."""
        result = np.full(len(self.pairs), NO_SCORE)
        result[self.rows] = values
        return result

    def scores(self, model: CalibratedModel) -> Floats:
        """Return the probability of each pair that the method scores; else NO_SCORE."""
        is_scored = self.is_candidate & (self.features["structure_8px"] >= model.min_structure)
        return np.where(is_scored, probabilities(self.features, model), NO_SCORE)

    def fit(self, training: Bools, **fitted: Any) -> CalibratedModel:
        """Fit a model to some of these pairs."""
        terms = {name: values[training] for name, values in self.features.terms().items()}
        labels = self.is_duplicate[training]
        if self.fitted_too is not None:
            other = self.fitted_too
            told = other.pairs.thumbnails_tell(other.rows)
            for name, values in other.features.terms().items():
                terms[name] = np.concatenate((terms[name], values[told]))
            labels = np.concatenate((labels, other.is_duplicate[told]))
        return fit_model(terms, labels, min_structure=MIN_STRUCTURE, **fitted)

    def cross_validated(self, division: int, verify: Verifier | None = None) -> Floats:
        """Score each pair by a model that has seen neither file's source.

        Folds consist of sources, not of files: a model must not be tested on copies of pictures
        that it was fitted to. `verify` may correct the scores.
        """
        names, source_of_file = np.unique(
            [each.source for each in self.pairs.files], return_inverse=True
        )
        folds = np.array(random_folds(len(names), division))[source_of_file]

        def predict(training: Bools) -> Floats:
            model = self.fit(training)
            scores = self.scores(model)
            return scores if verify is None else verify(scores, model)

        first, second = self.pairs.first[self.rows], self.pairs.second[self.rows]
        return cross_validate(folds[first], folds[second], predict)

    def qualities(self, min_probability: float, verify: Verifier | None = None) -> list[Quality]:
        """Return precision and recall, cross-validated, for each division."""
        return [
            Quality.of(
                self.in_all(self.cross_validated(division, verify)) >= min_probability,
                self.pairs.is_duplicate,
            )
            for division in range(DIVISIONS)
        ]


def mean_and_range(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def threshold_scores(pairs: LabelledPairs, config_path: Path) -> Floats:
    """Score all pairs by the method `threshold`."""
    changes = {**ORIGINAL_METHOD, "similarity_threshold": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        run_on_library([each.file for each in pairs.files], Path(folder), changes, config_path)
        listed = run_hydindex(Path(folder), "pairs").report["pairs"]
    score_of = {frozenset((each["sha256_a"], each["sha256_b"])): each["score"] for each in listed}
    return np.array(
        [
            score_of.get(frozenset((one.file.hash, other.file.hash)), NO_SCORE)
            for one, other in combinations(pairs.files, 2)
        ]
    )


def run_on_library(
    files: Sequence[HydrusFile], home: Path, changes: dict[str, Any], config_path: Path
) -> dict[str, Any]:
    """Serve a library and run `hydindex update --dry-run`; return its report."""
    with StandIn(files) as client:
        every_file = {"tags": ["system:filetype is video"]}
        key = client.SEARCH_AND_RELATIONSHIPS_KEY
        write_config(home, client.port, key, changes | every_file, base=config_path)
        return run_hydindex(home, "update", "--dry-run").report


def _alteration(one: LabelledFile, other: LabelledFile) -> str:
    altered = [each.alteration for each in (one, other) if each.alteration != "original"]
    return "two" if len(altered) == 2 else altered[0] if altered else "none"


def _signatures(
    files: Sequence[LabelledFile], pictures: Sequence[Image.Image]
) -> tuple[SignatureBatch, ComparableFiles]:
    per_file = [signature(picture) for picture in pictures]
    ratios = np.array([each.file.width / each.file.height for each in files])
    columns = {
        "duration_ms": np.array([each.file.duration_ms for each in files], np.float64),
        "aspect_ratio": ratios,
        "content_aspect_ratio": ratios
        * np.array([each.content_aspect_factor for each in per_file]),
    }
    signatures = SignatureBatch(
        **columns,
        has_bars=np.array([len(each.views) == 2 for each in per_file]),
        views=np.stack([each.views[[0, -1]] for each in per_file]),
    )
    return signatures, ComparableFiles(
        ids=np.arange(len(files)),
        **columns,
        average_hash=np.zeros(len(files), np.uint64),
        compared_since=np.full(len(files), NOT_COMPARED),
    )
