"""Labelled libraries: which pairs are duplicates, and how each method scores them."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from measure import run_hydindex, write_config
from numpy.typing import NDArray

from hydindex.config.settings import Config
from hydindex.matching.calibrated.features import Features, compute_features
from hydindex.matching.calibrated.fitting import cross_validate, fit_model, random_folds
from hydindex.matching.calibrated.model import CalibratedModel, load_model, probabilities
from hydindex.matching.calibrated.signature import signature
from hydindex.matching.candidates import CandidateRules, find_candidates
from hydindex.matching.decoding import decode_thumbnail
from hydindex.pipeline.calibration import Quality
from hydindex.records.files import ComparableFiles
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
NO_SCORE: Final = -np.inf
"""The score of a pair that is no candidate, or that was rejected before it had a score."""


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file, the source of its picture, and its alteration ("original": none)."""

    file: HydrusFile
    source: str
    alteration: str


def load_labelled(folder: Path) -> list[LabelledFile]:
    """Load a folder with `files.json` and `thumbs/`, and `videos/` if there are any."""
    rows = json.loads((folder / "files.json").read_text(encoding="utf-8"))
    return [
        LabelledFile(file, row["source"], row["variant"].replace("orig", "original"))
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
        both = [(files[i], files[j]) for i, j in zip(first.tolist(), second.tolist(), strict=True)]
        duplicate = [not one.file.base.isdisjoint(other.file.base) for one, other in both]
        alteration = [_alteration(one, other) for one, other in both]
        return cls(files, first, second, np.array(duplicate), np.array(alteration))

    def spread(self, first: NDArray[np.intp], second: NDArray[np.intp], values: Floats) -> Floats:
        """Return values of some pairs as an array of all pairs; the others have NO_SCORE."""
        square = np.full((len(self.files), len(self.files)), NO_SCORE)
        square[np.minimum(first, second), np.maximum(first, second)] = values
        result: Floats = square[self.first, self.second]
        return result


@dataclass(frozen=True)
class Candidates:
    """The candidates of the method `calibrated` and their features, without `min_structure`."""

    pairs: LabelledPairs
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    features: Features

    @classmethod
    def of(cls, pairs: LabelledPairs, config: Config) -> Self:
        """Find the candidates of a library and compute their features."""
        signatures, files = _signatures(pairs.files, config)
        rules = CandidateRules.of(config)
        found = [
            (one, other)
            for one, others in find_candidates(files, files[:0], rules)
            for other in others.ids.tolist()
        ]
        first, second = np.array(found, np.intp).reshape(-1, 2).T
        rows, features = compute_features(
            signatures,
            first,
            second,
            aspect_ratio_tolerance=rules.aspect_ratio_tolerance,
            min_structure=-np.inf,
        )
        return cls(pairs, first[rows], second[rows], features)

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def is_duplicate(self) -> Bools:
        """Which candidates are duplicates."""
        labels = self.pairs.is_duplicate.astype(np.float64)
        square = np.zeros((len(self.pairs.files),) * 2)
        square[self.pairs.first, self.pairs.second] = labels
        return (square + square.T)[self.first, self.second] > 0

    def in_all(self, values: Floats) -> Floats:
        """Return values of the candidates as an array of all pairs."""
        return self.pairs.spread(self.first, self.second, values)

    def scores(self, model: CalibratedModel) -> Floats:
        """Return the probability of each candidate; NO_SCORE below `min_structure`."""
        too_different = self.features["structure_8px"] < model.min_structure
        return np.where(too_different, NO_SCORE, probabilities(self.features, model))

    def fit(self, training: Bools, **fitted: Any) -> CalibratedModel:
        """Fit a model to some of the candidates."""
        terms = {name: values[training] for name, values in self.features.terms().items()}
        labels = self.is_duplicate[training]
        return fit_model(terms, labels, min_structure=MIN_STRUCTURE, **fitted)

    def cross_validated(self, division: int, verify: Verifier | None = None) -> Floats:
        """Score each candidate by a model that has seen neither file's source.

        Folds consist of sources, not of files: a model must not be tested on copies of pictures
        that it was fitted to. `verify` may correct the scores.
        """
        sources = [each.source for each in self.pairs.files]
        names = sorted(set(sources))
        fold_of = dict(zip(names, random_folds(len(names), division), strict=True))
        folds = np.array([fold_of[source] for source in sources])

        def predict(training: Bools) -> Floats:
            model = self.fit(training)
            scores = self.scores(model)
            return scores if verify is None else verify(scores, model)

        return cross_validate(folds[self.first], folds[self.second], predict)

    def qualities(self, min_probability: float, verify: Verifier | None = None) -> list[Quality]:
        """Return precision and recall, cross-validated, for each division."""
        return [
            Quality.of(
                self.in_all(self.cross_validated(division, verify)) >= min_probability,
                self.pairs.is_duplicate,
            )
            for division in range(DIVISIONS)
        ]


def scores_by_config(
    pairs: LabelledPairs, candidates: Candidates, config: Config, config_path: Path
) -> Floats:
    """Score all pairs by the method of a config."""
    if config.decision.method == "calibrated":
        return candidates.in_all(candidates.scores(load_model(config.decision.model)))
    return threshold_scores(pairs, config_path)


def threshold_scores(pairs: LabelledPairs, config_path: Path) -> Floats:
    """Score all pairs by the method `threshold`."""
    changes = {"decision": {"method": "threshold"}, "similarity_threshold": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        run_on_library([each.file for each in pairs.files], Path(folder), changes, config_path)
        listed = run_hydindex(Path(folder), "pairs")[0]["pairs"]
    position = {each.file.hash: number for number, each in enumerate(pairs.files)}
    first, second = (
        np.array([position[each[key]] for each in listed], np.intp)
        for key in ("sha256_a", "sha256_b")
    )
    return pairs.spread(first, second, np.array([each["score"] for each in listed]))


def run_on_library(
    files: Sequence[HydrusFile], home: Path, changes: dict[str, Any], config_path: Path
) -> dict[str, Any]:
    """Serve a library and run `hydindex update --dry-run`; return its report."""
    with StandIn(files) as client:
        every_file = {"tags": ["system:filetype is video"]}
        key = client.SEARCH_AND_RELATIONSHIPS_KEY
        write_config(home, client.port, key, changes | every_file, base=config_path)
        return run_hydindex(home, "update", "--dry-run")[0]


def _alteration(one: LabelledFile, other: LabelledFile) -> str:
    altered = [each.alteration for each in (one, other) if each.alteration != "original"]
    return "two" if len(altered) == 2 else altered[0] if altered else "none"


def _signatures(
    files: Sequence[LabelledFile], config: Config
) -> tuple[SignatureBatch, ComparableFiles]:
    made = [signature(decode_thumbnail(each.file.thumbnail), config.ahash.resize) for each in files]
    nan = float("nan")
    ratios = np.array([(each.file.width or nan) / (each.file.height or nan) for each in files])
    columns = {
        "duration_ms": np.array([each.file.duration_ms or nan for each in files], np.float64),
        "aspect_ratio": ratios,
        "average_hash": np.array([each.average_hash for each in made], np.uint64),
        "content_aspect_ratio": ratios * np.array([each.content_aspect_factor for each in made]),
        "content_hash": np.array([each.content_hash for each in made], np.uint64),
    }
    signatures = SignatureBatch(
        **columns,
        has_bars=np.array([len(each.views) == 2 for each in made]),
        views=np.stack([each.views[[0, -1]] for each in made]),
    )
    no_steps = np.zeros(len(files), np.int64)
    return signatures, ComparableFiles(
        ids=np.arange(len(files)), **columns, compared_since=no_steps
    )
