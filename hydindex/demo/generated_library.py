"""A small generated library: scenes, half of them with altered copies."""

import hashlib
from io import BytesIO
from itertools import cycle

import numpy as np
from PIL import Image

from hydindex.demo.alterations import ALTERATIONS, Clip, Rng
from hydindex.demo.scenes import SCENES
from hydindex.standin.state import HydrusFile

_THUMBNAIL_BOX_PX = (150, 125)  # Hydrus's default
_THUMBNAIL_QUALITY = 80
_DRAWN_BOX_PX = (300, 250)  # larger than a thumbnail, so that reducing it smooths edges

_SHARES = {  # of resolutions
    (1920, 1080): 0.25,
    (1280, 720): 0.25,
    (854, 480): 0.1,
    (640, 480): 0.12,
    (1080, 1920): 0.1,
    (720, 1280): 0.1,
    (720, 720): 0.08,
}
# Unrelated videos often have the same duration.
_ROUND_DURATIONS_MS = (6_000, 10_000, 15_000, 15_000, 30_000, 60_000)
_ROUND_SHARE = 0.5
_MEDIAN_DURATION_MS = 25_000
_DURATION_SIGMA = 0.8  # of the logarithm of the other durations

_COPIED_SHARE = 0.5
_MAX_COPIES = 4


def generate_library(seed: int = 7, pictures: int = 240) -> list[HydrusFile]:
    """Generate a library with this number of videos, the same for the same seed.

    About half of its scenes have one to four altered copies with the same `base`. The tags
    `scene:...` and `copy:...` name what a file shows and how it was altered.
    """
    rng = np.random.default_rng(seed)
    files: list[HydrusFile] = []
    for number, kind in enumerate(cycle(SCENES)):
        base = f"{seed}-{number:03}-{kind}"
        original = _clip(rng, kind)
        files.append(_file(original, base, f"scene:{kind}", "copy:original", rng))
        for copy in _copies(rng):
            altered = ALTERATIONS[copy](original, rng)
            files.append(_file(altered, base, f"scene:{kind}", f"copy:{copy}", rng))
        if len(files) >= pictures:
            break
    return files[:pictures]


def _copies(rng: Rng) -> list[str]:
    if rng.random() >= _COPIED_SHARE:
        return []
    count = int(rng.integers(1, _MAX_COPIES + 1))
    return [str(name) for name in rng.choice(list(ALTERATIONS), count, replace=False)]


def _clip(rng: Rng, kind: str) -> Clip:
    width, height = list(_SHARES)[rng.choice(len(_SHARES), p=list(_SHARES.values()))]
    return Clip(
        frame=SCENES[kind](rng, *_fitted(width, height, _DRAWN_BOX_PX)),
        width=width,
        height=height,
        duration_ms=_duration_ms(rng),
        frames_per_s=float(rng.choice((23.976, 25.0, 29.97))),
        bits_per_pixel=rng.uniform(0.04, 0.12),
    )


def _duration_ms(rng: Rng) -> int:
    if rng.random() < _ROUND_SHARE:
        return int(rng.choice(_ROUND_DURATIONS_MS))
    return max(1000, round(rng.lognormal(np.log(_MEDIAN_DURATION_MS), _DURATION_SIGMA)))


def _fitted(width: int, height: int, box_px: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of the same shape that fits into a box; never enlarge."""
    scale = min(box_px[0] / width, box_px[1] / height, 1)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _file(clip: Clip, base: str, scene: str, copy: str, rng: Rng) -> HydrusFile:
    webm = rng.random() < 0.15
    num_frames = max(1, round(clip.duration_ms / 1000 * clip.frames_per_s))
    return HydrusFile(
        hash=hashlib.sha256(f"{base} {copy}".encode()).hexdigest(),
        size=round(num_frames * clip.width * clip.height * clip.bits_per_pixel / 8),
        mime="video/webm" if webm else "video/mp4",
        ext=".webm" if webm else ".mp4",
        width=clip.width,
        height=clip.height,
        duration_ms=clip.duration_ms,
        num_frames=num_frames,
        has_audio=bool(rng.random() < 0.5),
        tags=frozenset({"meta:demo", scene, copy}),
        thumbnail=thumbnail(clip),
        base=frozenset({base}),
    )


def thumbnail(clip: Clip) -> bytes:
    """Return the thumbnail that Hydrus would make of the frame, a JPEG."""
    size = _fitted(clip.width, clip.height, _THUMBNAIL_BOX_PX)
    encoded = BytesIO()
    reduced = clip.frame.resize(size, Image.Resampling.LANCZOS)
    reduced.save(encoded, "JPEG", quality=_THUMBNAIL_QUALITY)
    return encoded.getvalue()
