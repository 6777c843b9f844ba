"""Measure what frame verification adds to the method `calibrated`, and what it costs.

    python benchmarks/frames.py PATH

PATH is a labelled library with its videos (`files.json`, `thumbs/`, `videos/`). Prints precision
and recall with and without frame verification, cross-validated by source with the shipped config;
then the cost of a first run with it.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from labelled import (
    DIVISIONS,
    Candidates,
    Floats,
    LabelledFile,
    LabelledPairs,
    Verifier,
    load_labelled,
    run_on_library,
)
from measure import SHIPPED_CONFIG, print_table

from hydindex.config import config_file
from hydindex.config.settings import Config
from hydindex.frames.packing import frame_signatures, pack_frames
from hydindex.frames.sampling import sample_frames
from hydindex.frames.verification import verify_frames
from hydindex.matching.calibrated.calibrated_matcher import doubtful_band
from hydindex.matching.calibrated.model import CalibratedModel
from hydindex.matching.candidates import CandidateRules
from hydindex.pipeline.calibration import Quality
from hydindex.store.frame_store import FramesOfVideo


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, nargs="?", help="folder with files, thumbs and videos")
    options = parser.parse_args()
    if options.path is None or not (options.path / "videos").is_dir():
        print("\nframes: skipped (it needs a labelled library with videos: make bench CORPUS=PATH)")
        return
    config = config_file.load(SHIPPED_CONFIG)
    files = load_labelled(options.path)
    candidates = Candidates.of(LabelledPairs.of(files), config)
    min_probability = config.decision.min_probability
    verifiers = {
        "thumbnails": None,
        "with frame verification": frame_verifier(files, candidates, config),
    }
    print_table(
        f"Cross-validated: means of {DIVISIONS} divisions, the lowest and the highest.",
        ("", "precision", "recall"),
        [
            (name, *mean_and_range(candidates.qualities(min_probability, verify)))
            for name, verify in verifiers.items()
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        changes = {"frames": {"enabled": True}}
        report = run_on_library(
            [each.file for each in files], Path(folder), changes, SHIPPED_CONFIG
        )
    counts = report["frame_verification"]
    print_table(
        "A first run with frame verification.",
        ("pairs verified", "videos sampled", "MB fetched", "seconds"),
        [(counts["verified"], counts["sampled"], counts["bytes"] / 1e6,
          report["seconds"]["verify_frames"])],
    )  # fmt: skip


def mean_and_range(qualities: Sequence[Quality]) -> list[str]:
    """Return precision and recall as text."""
    columns = ([each.precision for each in qualities], [each.recall for each in qualities])
    return [f"{np.mean(each):.3f} ({min(each):.3f}-{max(each):.3f})" for each in columns]


def frame_verifier(
    files: Sequence[LabelledFile], candidates: Candidates, config: Config
) -> Verifier:
    """Sample all videos; return a function that scores doubtful candidates by their frames."""
    frames = frame_signatures([_frames(number, each) for number, each in enumerate(files)])
    low, high = doubtful_band(config.decision.min_probability)
    tolerance = CandidateRules.of(config).aspect_ratio_tolerance

    def verify(scores: Floats, model: CalibratedModel) -> Floats:
        (rows,) = np.nonzero((scores >= low) & (scores < high))
        scores[rows] = verify_frames(
            frames,
            candidates.first[rows],
            candidates.second[rows],
            aspect_ratio_tolerance=tolerance,
            model=model,
        )
        return scores

    return verify


def _frames(number: int, labelled: LabelledFile) -> FramesOfVideo:
    file = labelled.file
    if file.video is None or not (file.duration_ms and file.width and file.height):
        raise ValueError(f"no video, or no duration or size: {file.hash}")
    with file.video.open("rb") as video:
        frames = sample_frames(video, file.duration_ms)
    if isinstance(frames, str):
        raise ValueError(f"{file.hash}: {frames}")
    return FramesOfVideo(
        file_id=number,
        duration_ms=file.duration_ms,
        aspect_ratio=file.width / file.height,
        packed=pack_frames(frames),
    )


if __name__ == "__main__":
    main()
