"""Frame verification: which frames are sampled, and which verdict they give."""

import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from made_videos import FRAMES_PER_S, letterboxed, scene, write_video
from PIL import Image

from hydindex.frames.packing import (
    FRAMES_PER_MOMENT,
    MOMENTS,
    SampledFrames,
    frame_signatures,
    pack_frames,
    unpack_frames,
)
from hydindex.frames.sampling import SHIFT_S, moments_s, sample_frames
from hydindex.frames.verification import verify_frames
from hydindex.matching.calibrated.calibrated_matcher import DOUBTFUL_RANGE, is_doubtful
from hydindex.matching.calibrated.features import compute_features
from hydindex.matching.calibrated.model import load_model, log_odds
from hydindex.records.pictures import PackedFrames, SignatureBatch
from hydindex.store.frame_store import FramesOfVideo

MODEL = load_model()
LOWEST, HIGHEST = DOUBTFUL_RANGE
SECONDS = 4
FRAMES = SECONDS * FRAMES_PER_S
RATIO = 4 / 3


def sampled(path: Path, duration_ms: float = 1000 * SECONDS) -> SampledFrames:
    with path.open("rb") as video:
        frames = sample_frames(video, duration_ms)
    assert isinstance(frames, SampledFrames), frames
    return frames


def signatures(*videos: tuple[SampledFrames, float, float]) -> SignatureBatch:
    """The signatures of videos with their aspect ratios and durations in ms."""
    return frame_signatures(
        [
            FramesOfVideo(number, duration_ms, ratio, pack_frames(frames))
            for number, (frames, ratio, duration_ms) in enumerate(videos)
        ]
    )


def verified(frames: SignatureBatch, pairs: Sequence[tuple[int, int]]) -> list[float]:
    first, second = np.array(pairs, np.intp).reshape(-1, 2).T
    result = verify_frames(frames, first, second, model=MODEL)
    probabilities: list[float] = result.tolist()
    return probabilities


def probability(one: SampledFrames, other: SampledFrames, ratio: float = RATIO) -> float:
    """The probability that two videos match, which is the same in both directions."""
    videos = signatures((one, RATIO, 4000.0), (other, ratio, 4000.0))
    forward, backward = verified(videos, [(0, 1), (1, 0)])
    assert forward == pytest.approx(backward)
    return forward


def brightening(seconds: int) -> list[Image.Image]:
    """Frames that get brighter with time."""
    count = seconds * FRAMES_PER_S
    return [Image.new("RGB", (64, 64), (250 * step // count,) * 3) for step in range(count)]


class TestSampling:
    @pytest.mark.parametrize(
        ("name", "seconds"), [("a.mp4", 1), ("a.mkv", 4), ("a.avi", 4), ("a.mp4", 60)]
    )
    def test_takes_the_frames_shown_at_the_moments(
        self, tmp_path: Path, name: str, seconds: int
    ) -> None:
        path = write_video(tmp_path / name, brightening(seconds), b="2000000")
        brightness = sampled(path, 1000 * seconds).views[:, :, 0].mean(axis=(2, 3))
        steps = np.minimum(moments_s(1000 * seconds) * FRAMES_PER_S, seconds * FRAMES_PER_S - 1)
        expected = 250 * np.floor(steps + 0.01) / (seconds * FRAMES_PER_S)
        np.testing.assert_allclose(brightness, expected, atol=3)

    def test_moments_divide_the_video_into_equal_parts(self) -> None:
        moments = moments_s(10_000)
        assert moments.shape == (MOMENTS, FRAMES_PER_MOMENT)
        np.testing.assert_allclose(moments[:, 1], [1, 3, 5, 7, 9])
        np.testing.assert_allclose(np.diff(moments, axis=1), SHIFT_S)
        assert moments_s(100).min() >= 0
        assert moments_s(100).max() <= 0.1

    def test_reads_only_parts_of_a_long_video(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (50, 120, 160, 3), np.uint8)
        pictures = itertools.islice(itertools.cycle(map(Image.fromarray, noise)), 900)
        path = write_video(tmp_path / "long.mp4", pictures, g="10", b="20000000")

        class Counted(io.FileIO):
            count = 0

            def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
                got = super().readinto(buffer)
                self.count += got or 0
                return got or 0

        with Counted(path) as raw, io.BufferedReader(raw, 1 << 16) as video:
            assert isinstance(sample_frames(video, 90_000), SampledFrames)
            assert raw.count < path.stat().st_size / 4

    def test_a_rotated_video_is_sampled_as_it_is_shown(self, tmp_path: Path) -> None:
        lying = scene(1, frames=FRAMES)
        path = write_video(tmp_path / "lying.mp4", lying, b="2000000")
        content = bytearray(path.read_bytes())
        one = (1 << 16).to_bytes(4, "big")
        minus = (-(1 << 16) % (1 << 32)).to_bytes(4, "big")
        place = content.index(one + bytes(12) + one, content.index(b"tkhd"))
        content[place : place + 20] = bytes(4) + one + bytes(4) + minus + bytes(4)
        path.write_bytes(content)
        rotated = [each.transpose(Image.Transpose.ROTATE_270) for each in lying]
        expected = sampled(write_video(tmp_path / "rotated.mp4", rotated, b="2000000"))
        assert np.abs(sampled(path).views.astype(float) - expected.views).mean() < 4

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"no video at all",
            b"\x00" * 100_000,
            b"ffconcat version 1.0\nfile other.mp4\n",
            b"#EXTM3U\n#EXTINF:10,\nother.mp4\n#EXT-X-ENDLIST\n",
        ],
    )
    def test_a_file_that_is_no_video_has_a_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
    ) -> None:
        write_video(tmp_path / "other.mp4", scene(1, frames=10))
        monkeypatch.chdir(tmp_path)
        outcome = sample_frames(io.BytesIO(content), 1000)
        assert isinstance(outcome, str)
        assert outcome.startswith("its frames cannot be decoded: ")

    def test_a_damaged_video_is_sampled_or_has_a_reason(self, tmp_path: Path) -> None:
        whole = write_video(tmp_path / "a.mkv", scene(1, frames=20)).read_bytes()
        random = np.random.default_rng(1)
        outcomes = set()
        for damage in range(1, 160, 4):
            damaged = bytearray(whole)
            for place in random.integers(0, len(whole), damage).tolist():
                damaged[place] = int(random.integers(256))
            cut_short = whole[: len(whole) * damage // 160]
            for content in (damaged, cut_short):
                outcomes.add(type(sample_frames(io.BytesIO(content), 2000)))
        assert outcomes == {str, SampledFrames}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> SampledFrames:
    folder = tmp_path_factory.mktemp("original")
    return sampled(write_video(folder / "original.mp4", scene(1, frames=FRAMES)))


def test_packed_frames_come_back_or_raise(original: SampledFrames) -> None:
    packed = pack_frames(original)
    unpacked = unpack_frames(packed)
    np.testing.assert_array_equal(unpacked.views, original.views)
    np.testing.assert_array_equal(unpacked.content_aspect_factors, original.content_aspect_factors)
    for damaged in (
        PackedFrames(packed.views[:-1], packed.content_aspect_factors),
        PackedFrames(packed.views, packed.content_aspect_factors[:-1]),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - the library's own words
            unpack_frames(damaged)


class TestVerdict:
    def test_altered_copies_match(self, tmp_path: Path, original: SampledFrames) -> None:
        frames = scene(1, frames=FRAMES)
        barred = sampled(write_video(tmp_path / "barred.mp4", letterboxed(frames)))
        assert probability(original, barred, ratio=1.0) > 0.95

        cut = frames[round(SHIFT_S * FRAMES_PER_S) :]
        shorter = write_video(tmp_path / "shorter.mp4", cut)
        assert probability(original, sampled(shorter, 1000 * len(cut) / FRAMES_PER_S)) > 0.9

        halved = write_video(tmp_path / "a.mkv", frames[::2], frames_per_s=FRAMES_PER_S // 2)
        assert probability(original, sampled(halved)) > 0.95

    @pytest.mark.parametrize(("same_frames", "highest"), [(0, 0.05), (FRAMES // 3, 0.6)])
    def test_another_scene_does_not_match_even_if_it_begins_alike(
        self, tmp_path: Path, original: SampledFrames, same_frames: int, highest: float
    ) -> None:
        frames = scene(1, frames=FRAMES)[:same_frames] + scene(2, frames=FRAMES)[same_frames:]
        other = sampled(write_video(tmp_path / "a.mp4", frames))
        assert probability(original, other) < highest

    def test_flat_videos_do_not_match(self, tmp_path: Path) -> None:
        grey = [Image.new("RGB", (128, 96), "grey")] * FRAMES
        flat = sampled(write_video(tmp_path / "a.mp4", grey))
        frames = signatures((flat, RATIO, 4000.0), (flat, RATIO, 4400.0))
        assert verified(frames, [(0, 1)])[0] < 0.5

    def test_agrees_with_the_plain_definition(
        self, tmp_path: Path, original: SampledFrames
    ) -> None:
        """The mean over the moments of the best alignment of two frames."""
        hills = scene(1, frames=FRAMES)
        shorter = sampled(write_video(tmp_path / "shorter.mp4", hills[:36]))
        barred = sampled(write_video(tmp_path / "barred.mp4", letterboxed(hills)))
        other = sampled(write_video(tmp_path / "other.mp4", scene(2, frames=FRAMES)))
        frames = signatures(
            (original, RATIO, 4000.0),
            (shorter, RATIO, 3600.0),
            (barred, 1.0, 4000.0),
            (other, RATIO, 4000.0),
        )
        pairs = list(itertools.combinations(range(4), 2))
        assert verified(frames, pairs) == pytest.approx([plain_verdict(frames, *p) for p in pairs])
        assert verified(frames, []) == []


def plain_verdict(frames: SignatureBatch, a: int, b: int) -> float:
    """Compare frame by frame."""
    middle = FRAMES_PER_MOMENT // 2
    total = 0.0
    for moment in range(MOMENTS):
        best = -6.0
        for i, j in itertools.product(range(FRAMES_PER_MOMENT), repeat=2):
            if middle not in (i, j):
                continue
            left, right = (
                np.array([(video * MOMENTS + moment) * FRAMES_PER_MOMENT + frame])
                for video, frame in ((a, i), (b, j))
            )
            rows, features = compute_features(
                frames, left, right, min_structure=MODEL.min_structure
            )
            if len(rows):
                best = max(best, min(6.0, float(log_odds(features, MODEL)[0])))
        total += best
    return 1 / (1 + math.exp(-total / MOMENTS))


@pytest.mark.parametrize(
    ("min_probability", "doubtful", "certain"),
    [
        (0.6, [LOWEST, 0.5, HIGHEST - 1e-9], [0.0, LOWEST - 1e-9, HIGHEST, 1.0]),
        (0.99, [0.985], [0.99]),
        (0.01, [0.01], [0.009]),
    ],
)
def test_the_doubtful_range_reaches_to_the_probability_that_matches(
    min_probability: float, doubtful: list[float], certain: list[float]
) -> None:
    assert np.all(is_doubtful(np.array(doubtful), min_probability))
    assert not np.any(is_doubtful(np.array(certain), min_probability))
