"""Encoded pictures for the tests, and videos that share one."""

import io
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from PIL import Image

from hydindex.standin.state import HydrusFile

COVERS: Final = 60


def encoded(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def spread(count: int) -> list[int]:
    """Draw durations of whole milliseconds within the second after a minute."""
    durations = 60_000 + np.random.default_rng(1).uniform(0, 1000, count)
    return [round(each) for each in durations.tolist()]


def with_picture_of(
    file: HydrusFile, name: str, durations_ms: Iterable[float | None]
) -> list[HydrusFile]:
    """Make videos of these durations that have the picture of a file, compressed differently."""
    with Image.open(io.BytesIO(file.thumbnail)) as picture:
        return [
            replace(
                file,
                hash=(name.encode().hex() + f"{number:04x}").ljust(64, "0"),
                duration_ms=duration_ms,
                thumbnail=encoded(picture, "JPEG", quality=60 + number % 36),
            )
            for number, duration_ms in enumerate(durations_ms)
        ]
