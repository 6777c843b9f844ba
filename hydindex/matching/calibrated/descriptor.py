"""Descriptors: one vector per picture, alike for pictures that show the same.

A network maps a picture to numbers that hardly change when the picture is mirrored, cropped,
reframed, recoloured or written on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

DESCRIPTOR: Final = "descriptor"
"""The name of the table that holds the vectors."""

UNIT_LENGTH: Final = 256
"""The length of a vector. The product of two vectors, divided by its square, is their similarity.

Products of whole numbers below 2**24 are exact in float32, in whatever order they are summed: 512
products of int8 numbers always are.
"""

Vectors = NDArray[np.int8]
Network = Callable[[Sequence["Image.Image"]], Vectors]
"""Computes the vectors of RGB pictures; threads may share it."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A kind of descriptor: int8 vectors of `dimension` numbers.

    Pairs below `min_similarity` are no candidates. `model_sha256` identifies the file that `load`
    loads, once; it raises ConfigError if the network can't run.
    """

    name: str
    version: int
    dimension: int
    min_similarity: float
    model_sha256: str
    load: Callable[[], Network]

    @property
    def fingerprint(self) -> str:
        """Identify vectors that can be compared with each other."""
        return f"{self.name} {self.version} {self.model_sha256[:12]}"

    def embed(self, pictures: "Sequence[Image.Image]") -> Vectors:
        """Compute the vectors of RGB pictures: (pictures, dimension).

        Raises:
            ConfigError: the network can't run.
        """
        return self.load()(pictures)


def to_vectors(numbers: NDArray[np.float32]) -> Vectors:
    """Scale vectors (n, dimension) to UNIT_LENGTH, and round them."""
    lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
    scaled = numbers * (UNIT_LENGTH / np.maximum(lengths, np.finfo(np.float32).tiny))
    return np.clip(np.rint(scaled), -127, 127).astype(np.int8)
