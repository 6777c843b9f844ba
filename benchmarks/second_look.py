"""Measure what a second look at frames adds to the calibrated decision, and what it costs.

    python benchmarks/second_look.py PATH

PATH is a labelled library with its videos (`files.json`, `thumbs/` and `videos/`). Prints precision
and recall with and without a second look, cross-validated by source as `calibrate.py` does it: both
looks of a pair are judged by a model that knows neither of its sources. Then what whole runs cost
with and without it; and what it takes to sample a long video that is made for it, of which only
parts should be fetched.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from calibrate import (
    DRAWS,
    GOAL_PRECISION,
    GOAL_RECALL,
    at_goals,
    cross_validated,
    precision_recall,
)
from labelled import LabelledFile, LabelledPairs, load_labelled
from measured import SHIPPED_CONFIG, run_measured, write_config
from PIL import Image
from table import print_table

from hydindex.config import config_file
from hydindex.demo.scenes import SCENES
from hydindex.frames.sampling import sample_frames
from hydindex.frames.verification import is_doubtful, look_again
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.videos import VideoSource
from hydindex.matching.calibrated.features import Floats
from hydindex.matching.calibrated.model import CalibratedModel
from hydindex.matching.candidates import CandidateRules
from hydindex.records.files import FileRef
from hydindex.records.pictures import SampledFrames, SignatureBatch
from hydindex.standin.library_files import HydrusFile, load_folder, true_pairs
from hydindex.standin.server import StandIn

LONG_S: Final = 180
LONG_SIZE_PX: Final = (1280, 720)
LONG_FRAMES_PER_S: Final = 25
KEY_FRAME_EVERY: Final = 250  # as x264 does it unless told otherwise


def main() -> None:
    folder = Path(sys.argv[1])
    config = config_file.load(SHIPPED_CONFIG)
    pairs = LabelledPairs.of(load_labelled(folder), config)
    show_accuracy(pairs, frames_of(pairs.files), config)
    show_runs(load_folder(folder, tags=()))
    show_long_video()


def frames_of(files: list[LabelledFile]) -> SignatureBatch:
    """Sample every video of a library, from the disk."""
    sampled = []
    for each in files:
        if each.file.video is None or each.file.duration_ms is None:
            raise ValueError(f"no video, or no duration: {each.file.hash}")
        with each.file.video.open("rb") as video:
            frames = sample_frames(video, each.file.duration_ms)
        if isinstance(frames, str):
            raise ValueError(f"{each.file.hash}: {frames}")
        sampled.append(frames)
    ratios = [(each.file.width or 0) / (each.file.height or 1) for each in files]
    return SignatureBatch.of_frames(sampled, [each.file.duration_ms for each in files], ratios)


def show_accuracy(pairs: LabelledPairs, frames: SignatureBatch, config: config_file.Config) -> None:
    tolerance = CandidateRules.of(config).aspect_ratio_tolerance
    doubtful_counts: list[int] = []

    def look(likely: Floats, model: CalibratedModel) -> Floats:
        (rows,) = np.nonzero(is_doubtful(likely, config.decision.min_probability))
        likely[rows] = look_again(
            frames,
            pairs.first[rows],
            pairs.second[rows],
            aspect_ratio_tolerance=tolerance,
            model=model,
        )
        return likely

    least = config.decision.min_probability
    figures: dict[str, list[tuple[float, ...]]] = {"thumbnails": [], "and a second look": []}
    for draw in range(DRAWS):
        by_thumbnails = cross_validated(pairs, draw)
        doubtful_counts.append(int(is_doubtful(by_thumbnails, least).sum()))
        judged = (by_thumbnails, cross_validated(pairs, draw, look))
        for rows, likely in zip(figures.values(), judged, strict=True):
            rows.append((*precision_recall(pairs, likely >= least), *at_goals(pairs, likely)))
    print_table(
        f"Judged by models fitted to other sources: {len(pairs.first):,} candidates, of which "
        f"{np.mean(doubtful_counts):.0f} are doubtful;\n{pairs.labelled} duplicates. Means of "
        f"{DRAWS} draws, and the lowest and the highest.",
        (
            *("", f"precision at {least:g}", "recall"),
            *(f"recall at precision {GOAL_PRECISION}", f"precision at recall {GOAL_RECALL}"),
        ),
        [
            (name, *(_mean_and_range(column) for column in zip(*rows, strict=True)))
            for name, rows in figures.items()
        ],
    )


def _mean_and_range(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def show_runs(files: list[HydrusFile]) -> None:
    labelled = true_pairs(files)
    shown = []
    for enabled, beside in ((False, False), (True, False), (True, True)):
        with tempfile.TemporaryDirectory() as folder, StandIn(files) as client:
            key = client.LOCAL_PATHS_KEY if beside else client.SEARCH_AND_RELATIONSHIPS_KEY
            home = Path(folder)
            write_config(
                home,
                client.port,
                key,
                tags=["system:filetype is video"],
                frames={"enabled": enabled},
            )
            report, cost = run_measured(home, "update")
            posted = client.potentials
        right = len(labelled & posted)
        looks: dict[str, Any] = report["second_look"]
        seconds = float(report["seconds"]["look"])
        pairs = looks["looked_at"]
        shown.append(
            (
                ("with, from the disk" if beside else "with, through the client")
                if enabled
                else "without",
                cost.wall_s,
                seconds,
                pairs,
                looks["sampled"],
                looks["bytes"] / 1e6,
                seconds / pairs if pairs else None,
                f"{right / len(posted):.3f}",
                f"{right / len(labelled):.3f}",
            )
        )
    print_table(
        "First runs with the shipped model, which was fitted to this very library. Seconds.",
        (
            *("second look", "whole run", "looking", "pairs", "videos", "MB fetched"),
            *("s a pair", "precision", "recall"),
        ),
        shown,
    )


def show_long_video() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_long_video(Path(folder) / "long.mp4")
        size_bytes = path.stat().st_size
        file = HydrusFile(
            hash="a" * 64,
            size=size_bytes,
            mime="video/mp4",
            ext=".mp4",
            width=LONG_SIZE_PX[0],
            height=LONG_SIZE_PX[1],
            duration_ms=1000 * LONG_S,
            num_frames=LONG_S * LONG_FRAMES_PER_S,
            has_audio=False,
            tags=frozenset(),
            thumbnail=b"",
            video=path,
        )
        key = StandIn.SEARCH_AND_RELATIONSHIPS_KEY
        with (
            StandIn([file]) as client,
            HydrusClient(f"{client.url}:{client.port}", key) as hydrus,
        ):
            source = VideoSource(hydrus)
            started = time.perf_counter()
            with source.opened(FileRef(1, file.hash), size_bytes) as video:
                frames = sample_frames(video, 1000 * LONG_S)
            seconds = time.perf_counter() - started
    if not isinstance(frames, SampledFrames):
        raise ValueError(frames)
    print(
        f"\nA video of {LONG_S} s, {LONG_SIZE_PX[0]}x{LONG_SIZE_PX[1]} at {LONG_FRAMES_PER_S} "
        f"frames a second, of {size_bytes / 1e6:.1f} MB: {source.fetched_bytes / 1e6:.1f} MB "
        f"fetched, {seconds:.1f} s on one core"
    )


def write_long_video(path: Path) -> Path:
    with av.open(path, "w") as container:
        options = {"g": str(KEY_FRAME_EVERY), "preset": "ultrafast"}
        stream = container.add_stream("libx264", rate=LONG_FRAMES_PER_S, options=options)
        stream.width, stream.height = LONG_SIZE_PX
        for picture in moving_pictures():
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())
    return path


def moving_pictures() -> Iterator[Image.Image]:
    """Go slowly over one scene after the other."""
    random = np.random.default_rng(1)
    width, height = LONG_SIZE_PX
    frames_a_scene = 10 * LONG_FRAMES_PER_S
    for number in range(LONG_S // 10):
        scene = list(SCENES.values())[number % len(SCENES)]
        land = scene(random, width // 2, height // 2).resize((2 * width, height + 100))
        for step in range(frames_a_scene):
            left, top = round(step / frames_a_scene * width), step * 100 // frames_a_scene
            yield land.crop((left, top, left + width, top + height))


if __name__ == "__main__":
    main()
