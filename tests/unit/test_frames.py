"""A second look: the frames that are sampled, and what is concluded from them."""

import io
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from made_videos import FRAMES_PER_S, letterboxed, scene, write_video
from PIL import Image

from hydindex.frames.sampling import SHIFT_S, moments_s, sample_frames
from hydindex.frames.verification import DOUBTFUL, is_doubtful, look_again
from hydindex.matching.calibrated.features import compute_features
from hydindex.matching.calibrated.model import load_model
from hydindex.matching.calibrated.probability import log_odds
from hydindex.records.pictures import FRAMES_A_MOMENT, MOMENTS, SampledFrames, SignatureBatch

MODEL = load_model()
SECONDS = 4
FRAMES = SECONDS * FRAMES_PER_S
SQUARE, WIDE = 4 / 3, 16 / 9


def sampled(path: Path, duration_ms: float = 1000 * SECONDS) -> SampledFrames:
    with path.open("rb") as video:
        frames = sample_frames(video, duration_ms)
    assert isinstance(frames, SampledFrames), frames
    return frames


def likely(one: SampledFrames, other: SampledFrames, *ratios: float) -> float:
    """How likely two videos show the same, and the same the other way round."""
    files = SignatureBatch.of_frames([one, other], [4000.0, 4000.0], ratios or [SQUARE, SQUARE])
    there, back = look_again(
        files,
        np.array([0, 1]),
        np.array([1, 0]),
        aspect_ratio_tolerance=0.05,
        model=MODEL,
    ).tolist()
    assert there == pytest.approx(back)
    return float(there)


def clocks(seconds: int) -> list[Image.Image]:
    """Frames that tell when they are shown, by how bright they are."""
    count = seconds * FRAMES_PER_S
    return [Image.new("RGB", (64, 64), (250 * step // count,) * 3) for step in range(count)]


class TestSampling:
    @pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
    @pytest.mark.parametrize("seconds", [1, 4, 60])
    def test_takes_the_frames_that_are_shown_at_the_moments(
        self, tmp_path: Path, name: str, seconds: int
    ) -> None:
        path = write_video(tmp_path / name, clocks(seconds), b="2000000")
        frames = sampled(path, 1000 * seconds)
        brightness = frames.views[:, :, 0].mean(axis=(2, 3))
        steps = np.minimum(moments_s(1000 * seconds) * FRAMES_PER_S, seconds * FRAMES_PER_S - 1)
        expected = 250 * np.floor(steps + 0.01) / (seconds * FRAMES_PER_S)
        np.testing.assert_allclose(brightness, expected, atol=3)

    def test_moments_lie_within_the_video_in_equal_parts(self) -> None:
        moments = moments_s(10_000)
        assert moments.shape == (MOMENTS, FRAMES_A_MOMENT)
        np.testing.assert_allclose(moments[:, 1], [1, 3, 5, 7, 9])
        np.testing.assert_allclose(np.diff(moments, axis=1), SHIFT_S)
        assert moments_s(100).min() >= 0
        assert moments_s(100).max() <= 0.1

    def test_of_a_long_video_it_reads_only_parts(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (100, 240, 320, 3), np.uint8)
        pictures = itertools.islice(itertools.cycle(map(Image.fromarray, noise)), 900)
        path = write_video(tmp_path / "long.mp4", pictures, g="10", b="20000000")

        class Counted(io.FileIO):
            count = 0

            def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
                got = super().readinto(buffer)
                self.count += got or 0
                return got or 0

        with Counted(path) as raw, io.BufferedReader(raw, 1 << 16) as video:
            frames = sample_frames(video, 90_000)
            assert isinstance(frames, SampledFrames)
            assert raw.count < path.stat().st_size / 4

    def test_a_turned_video_is_seen_as_it_is_shown(self, tmp_path: Path) -> None:
        lying = scene(1, frames=FRAMES)
        path = write_video(tmp_path / "lying.mp4", lying, b="2000000")
        content = bytearray(path.read_bytes())
        start = content.index(b"tkhd")
        one = (1 << 16).to_bytes(4, "big")
        minus = (-(1 << 16) % (1 << 32)).to_bytes(4, "big")
        upright = one + bytes(12) + one
        place = content.index(upright, start)
        content[place : place + 20] = bytes(4) + one + bytes(4) + minus + bytes(4)
        path.write_bytes(content)
        shown = [each.transpose(Image.Transpose.ROTATE_270) for each in lying]
        expected = sampled(write_video(tmp_path / "shown.mp4", shown, b="2000000"))
        difference = sampled(path).views.astype(float) - expected.views
        assert np.abs(difference).mean() < 4

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"no video at all",
            b"\x00" * 100_000,
            b"ffconcat version 1.0\nfile other.mp4\n",
            b"#EXTM3U\n#EXTINF:10,\nother.mp4\n#EXT-X-ENDLIST\n",
        ],
        ids=["empty", "text", "zeros", "a list of files", "a playlist"],
    )
    def test_what_is_no_video_is_said_to_be_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
    ) -> None:
        write_video(tmp_path / "other.mp4", scene(1, frames=10))
        monkeypatch.chdir(tmp_path)
        outcome = sample_frames(io.BytesIO(content), 1000)
        assert isinstance(outcome, str)
        assert outcome.startswith("its frames cannot be decoded: ")

    def test_a_video_that_is_cut_short_shows_its_last_frame_or_nothing(
        self, tmp_path: Path
    ) -> None:
        whole = write_video(tmp_path / "a.mkv", scene(1, frames=FRAMES)).read_bytes()
        outcomes = [
            type(sample_frames(io.BytesIO(whole[:length]), 1000 * SECONDS))
            for length in range(0, len(whole), len(whole) // 40)
        ]
        assert set(outcomes) == {str, SampledFrames}

    @pytest.mark.parametrize("seed", range(40))
    def test_damaged_videos_are_seen_or_not_but_never_end_the_run(
        self, tmp_path: Path, seed: int
    ) -> None:
        content = bytearray(write_video(tmp_path / "a.mp4", scene(1, frames=20)).read_bytes())
        random = np.random.default_rng(seed)
        for place in random.integers(0, len(content), 1 + seed * 4).tolist():
            content[place] = int(random.integers(256))
        assert isinstance(sample_frames(io.BytesIO(content), 2000), str | SampledFrames)


class TestVerdict:
    @pytest.fixture
    def original(self, tmp_path: Path) -> SampledFrames:
        return sampled(write_video(tmp_path / "original.mp4", scene(1, frames=FRAMES)))

    def test_another_encoding_at_another_frame_rate_is_the_same(
        self, tmp_path: Path, original: SampledFrames
    ) -> None:
        every_second = scene(1, frames=FRAMES)[::2]
        copy = write_video(tmp_path / "a.mkv", every_second, frames_per_s=FRAMES_PER_S // 2)
        assert likely(original, sampled(copy)) > 0.95

    def test_another_scene_is_not(self, tmp_path: Path, original: SampledFrames) -> None:
        other = write_video(tmp_path / "a.mp4", scene(2, frames=FRAMES))
        assert likely(original, sampled(other)) < 0.05

    def test_a_letterboxed_copy_is_the_same(self, tmp_path: Path, original: SampledFrames) -> None:
        copy = write_video(tmp_path / "a.mp4", letterboxed(scene(1, frames=FRAMES)))
        assert likely(original, sampled(copy), SQUARE, 1.0) > 0.95

    def test_a_copy_without_its_beginning_is_the_same(
        self, tmp_path: Path, original: SampledFrames
    ) -> None:
        lost = round(SHIFT_S * FRAMES_PER_S)
        copy = write_video(tmp_path / "a.mp4", scene(1, frames=FRAMES)[lost:])
        assert likely(original, sampled(copy, 1000 * SECONDS - 1000 * SHIFT_S)) > 0.9

    def test_one_that_only_begins_alike_is_not(
        self, tmp_path: Path, original: SampledFrames
    ) -> None:
        frames = scene(1, frames=FRAMES)[: FRAMES // 3] + scene(2, frames=FRAMES)[FRAMES // 3 :]
        assert likely(original, sampled(write_video(tmp_path / "a.mp4", frames))) < 0.3

    def test_flat_videos_are_no_evidence(self, tmp_path: Path) -> None:
        grey = [Image.new("RGB", (128, 96), "grey")] * FRAMES
        one = sampled(write_video(tmp_path / "a.mp4", grey))
        other = SignatureBatch.of_frames([one, one], [4000.0, 4400.0], [SQUARE, SQUARE])
        (probability,) = look_again(
            other, np.array([0]), np.array([1]), aspect_ratio_tolerance=0.05, model=MODEL
        )
        assert probability < 0.5

    def test_is_the_plain_definition(self, tmp_path: Path) -> None:
        """The mean over the moments of the best of all ways to lay frames upon each other."""
        videos = [
            sampled(write_video(tmp_path / f"{n}.mp4", frames))
            for n, frames in enumerate(
                (scene(1, frames=40), scene(1, frames=36), letterboxed(scene(1, frames=40)))
            )
        ] + [sampled(write_video(tmp_path / "3.mp4", scene(2, frames=40)))]
        ratios = [SQUARE, SQUARE, 1.0, SQUARE]
        durations = [4000.0, 3600.0, 4000.0, 4000.0]
        files = SignatureBatch.of_frames(videos, durations, ratios)
        pairs = list(itertools.combinations(range(4), 2))
        found = look_again(
            files,
            np.array([a for a, _ in pairs]),
            np.array([b for _, b in pairs]),
            aspect_ratio_tolerance=0.05,
            model=MODEL,
        )
        for (a, b), probability in zip(pairs, found.tolist(), strict=True):
            expected = plain_verdict(files, a, b)
            assert probability == pytest.approx(expected), (a, b)

    def test_no_pairs_need_no_verdict(self, original: SampledFrames) -> None:
        files = SignatureBatch.of_frames([original], [4000.0], [SQUARE])
        nobody = np.array([], np.intp)
        verdicts = look_again(files, nobody, nobody, aspect_ratio_tolerance=0.05, model=MODEL)
        assert len(verdicts) == 0


def plain_verdict(files: SignatureBatch, a: int, b: int) -> float:
    """Weigh frame by frame."""
    middle = FRAMES_A_MOMENT // 2
    total = 0.0
    for moment in range(MOMENTS):
        best = -6.0
        for i, j in itertools.product(range(FRAMES_A_MOMENT), repeat=2):
            if middle not in (i, j):
                continue
            left, right = (
                np.array([(video * MOMENTS + moment) * FRAMES_A_MOMENT + frame])
                for video, frame in ((a, i), (b, j))
            )
            rows, evidence = compute_features(
                files, left, right, aspect_ratio_tolerance=0.05, gate=MODEL.gate
            )
            if len(rows):
                best = max(best, min(6.0, float(log_odds(evidence, MODEL)[0])))
        total += best
    return 1 / (1 + math.exp(-total / MOMENTS))


def test_doubtful_are_those_between() -> None:
    lowest, highest = DOUBTFUL
    likely_ = np.array([0.0, lowest - 1e-9, lowest, 0.5, highest - 1e-9, highest, 1.0])
    doubtful = is_doubtful(likely_, min_probability=0.6)
    assert doubtful.tolist() == [False, False, True, True, True, False, False]


def test_a_doubt_reaches_to_where_pairs_begin_to_match() -> None:
    assert is_doubtful(np.array([0.985, 0.99]), min_probability=0.99).tolist() == [True, False]
    assert is_doubtful(np.array([0.009, 0.01]), min_probability=0.01).tolist() == [False, True]
