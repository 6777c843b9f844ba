"""A labelled library as the calibrated decision sees it: every candidate pair, and what it is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from hydindex.matching.calibrated.probability import terms
from hydindex.matching.preparation import Preparation, prepare
from numpy.typing import NDArray

from hydindex.config.settings import Config
from hydindex.matching.calibrated.features import Features, compute_features
from hydindex.matching.candidates import CandidateRules, find_candidates
from hydindex.records.files import ComparableFiles
from hydindex.records.pictures import VIEW_PX, Signature, SignatureBatch
from hydindex.standin.library_files import HydrusFile, load_folder, true_pairs

_NO_GATE = -np.inf


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file, where its pictures come from, and how it was altered ("orig": not at all)."""

    file: HydrusFile
    source: str
    alteration: str


def load_labelled(folder: Path) -> list[LabelledFile]:
    """Read a folder as `hydindex.standin.library_files.load_folder` does, with `source` and `variant`."""
    rows = json.loads((folder / "files.json").read_text(encoding="utf-8"))
    files = load_folder(folder, tags=())
    return [
        LabelledFile(file, row["source"], row["variant"])
        for file, row in zip(files, rows, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class LabelledPairs:
    """Candidate pairs by the positions of their files, with the evidence for each.

    `is_duplicate` bool (pairs,); `labelled` counts the duplicates of the whole library, of which
    some may be no candidates.
    """

    files: list[LabelledFile]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    evidence: Features
    is_duplicate: NDArray[np.bool_]
    labelled: int

    @classmethod
    def of(cls, files: list[LabelledFile], config: Config) -> Self:
        """Find the candidates of a library, without any gate."""
        signed, comparables = _signed(files, config)
        rules = CandidateRules.of(config)
        found = [
            (one, other)
            for one, rivals in find_candidates(comparables, comparables[:0], rules)
            for other in rivals.ids.tolist()
        ]
        first, second = (np.array(side, np.intp) for side in zip(*found, strict=True))
        tolerance = rules.aspect_ratio_tolerance
        rows, evidence = compute_features(
            signed, first, second, aspect_ratio_tolerance=tolerance, gate=_NO_GATE
        )
        first, second = first[rows], second[rows]
        bases = [each.file.base for each in files]
        is_duplicate = np.array(
            [not bases[i].isdisjoint(bases[j]) for i, j in zip(first, second, strict=True)],
            np.bool_,
        )
        labelled = len(true_pairs(each.file for each in files))
        return cls(files, first, second, evidence, is_duplicate, labelled)

    def terms(self) -> dict[str, NDArray[np.float64]]:
        """Give the terms of every pair."""
        return dict(terms(self.evidence))


def kind_of(one: LabelledFile, other: LabelledFile) -> str:
    """Name the alteration that parts two copies."""
    altered = sorted({one.alteration, other.alteration} - {"orig", "original"})
    if one.alteration not in ("orig", "original") and other.alteration not in ("orig", "original"):
        return "two"
    return altered[0] if altered else "none"


def _signed(files: list[LabelledFile], config: Config) -> tuple[SignatureBatch, ComparableFiles]:
    preparation = Preparation.of(config)
    signatures = [prepare(each.file.thumbnail, preparation) for each in files]
    sound = [each for each in signatures if isinstance(each, Signature)]
    if len(sound) < len(files):
        raise ValueError("a thumbnail cannot be decoded, or the decision is not calibrated")
    nan = float("nan")
    durations_ms = np.array([each.file.duration_ms or nan for each in files], np.float64)
    ratios = np.array([(each.file.width or nan) / (each.file.height or nan) for each in files])
    content_ratios = ratios * np.array([each.content_shape for each in sound])
    hashes = np.array([each.average_hash for each in sound], np.uint64)
    content_hashes = np.array([each.content_hash for each in sound], np.uint64)
    views = np.stack([each.views[[0, -1]] for each in sound])
    assert views.shape[1:] == (2, VIEW_PX, VIEW_PX)
    signed = SignatureBatch(
        duration_ms=durations_ms,
        aspect_ratio=ratios,
        average_hash=hashes,
        content_aspect_ratio=content_ratios,
        content_hash=content_hashes,
        has_bars=np.array([len(each.views) == 2 for each in sound]),
        views=views,
    )
    comparables = ComparableFiles(
        ids=np.arange(len(files)),
        duration_ms=durations_ms,
        aspect_ratio=ratios,
        average_hash=hashes,
        content_aspect_ratio=content_ratios,
        content_hash=content_hashes,
        compared_since=np.zeros(len(files), np.int64),
    )
    return signed, comparables
