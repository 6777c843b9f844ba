"""Measure what frame verification adds to the method `calibrated`, and what it costs.

    python benchmarks/frames.py PATH [--videos PATH]

PATH is a labelled library with its videos (`files.json`, `thumbs/`, `videos/`). The model is fitted
to `--videos` too, as the shipped one is (see `calibrate.py`). Prints precision
and recall with and without frame verification, cross-validated by source with the shipped config;
then the cost of a first run with it.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from labelled import (
    DIVISIONS,
    Candidates,
    Floats,
    LabelledFile,
    Verifier,
    load_labelled,
    mean_and_range,
    run_on_library,
)
from measure import SHIPPED_CONFIG, print_table

from hydindex.config import config_file
from hydindex.config.settings import Config
from hydindex.frames.packing import frame_signatures, pack_frames
from hydindex.frames.sampling import sample_frames
from hydindex.frames.verification import verify_frames
from hydindex.matching.calibrated.calibrated_matcher import doubtful_range
from hydindex.matching.calibrated.model import CalibratedModel
from hydindex.standin.state import HydrusFile
from hydindex.store.frame_store import FramesOfVideo


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, nargs="?", help="folder with files, thumbs and videos")
    parser.add_argument("--videos", type=Path, help="a library of whole videos")
    options = parser.parse_args()
    if options.path is None or not (options.path / "videos").is_dir():
        print("\nframes: skipped (it needs a labelled library with videos: make bench CORPUS=PATH)")
        return
    config = config_file.load(SHIPPED_CONFIG)
    files = load_labelled(options.path)
    videos = Candidates.of(load_labelled(options.videos), config) if options.videos else None
    candidates = Candidates.of(files, config, videos)
    min_probability = config.decision.min_probability
    verify = frame_verifier(files, candidates, config)
    rows = []
    for name, verifier in (("thumbnails", None), ("thumbnails and frames", verify)):
        qualities = candidates.qualities(min_probability, verifier)
        rows.append(
            {
                "pairs decided by": name,
                "precision": mean_and_range([each.precision for each in qualities]),
                "recall": mean_and_range([each.recall for each in qualities]),
            }
        )
    title = f"Cross-validated: means of {DIVISIONS} divisions, the lowest and the highest."
    print_table(title, rows)
    with tempfile.TemporaryDirectory() as folder:
        changes = {"frames": {"enabled": True}}
        report = run_on_library(
            [each.file for each in files], Path(folder), changes, SHIPPED_CONFIG
        )
    counts = report["frame_verification"]
    row = {
        "pairs verified": counts["verified"],
        "videos sampled": counts["sampled"],
        "MB fetched": counts["bytes"] / 1e6,
        "seconds": report["seconds"]["verify_frames"],
    }
    print_table("A first run with frame verification.", [row])


def frame_verifier(
    files: Sequence[LabelledFile], candidates: Candidates, config: Config
) -> Verifier:
    """Sample all videos; return a function that scores doubtful candidates by their frames."""
    frames = frame_signatures([_frames(number, each.file) for number, each in enumerate(files)])
    low, high = doubtful_range(config.decision.min_probability)

    def verify(scores: Floats, model: CalibratedModel) -> Floats:
        doubtful = (scores >= low) & (scores < high)
        pairs = candidates.rows[doubtful]
        scores[doubtful] = verify_frames(
            frames,
            candidates.pairs.first[pairs],
            candidates.pairs.second[pairs],
            model=model,
        )
        return scores

    return verify


def _frames(number: int, file: HydrusFile) -> FramesOfVideo:
    with file.video.open("rb") as video:
        frames = sample_frames(video, file.duration_ms)
    if isinstance(frames, str):
        raise ValueError(f"{file.hash}: {frames}")
    return FramesOfVideo(number, file.duration_ms, file.width / file.height, pack_frames(frames))


if __name__ == "__main__":
    main()
