"""The values that travel between the stages of a run. Each type names the step reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""A prepared thumbnail: (height, width) grey or (height, width, 3) RGB, uint8."""

CoarsePicture = NDArray[np.uint16]
"""A picture at an eighth of its size, as sums of 8x8 pixels: (channels, height, width), uint16."""


VIEW_PX: Final = 32
"""Width and height of a view."""

MOMENTS: Final = 5
FRAMES_A_MOMENT: Final = 3
"""A second look samples a video at so many moments, and around each of them so many frames."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that the search found.

    `sha256` is its identity (64 hex digits); `hydrus_id` is Hydrus's own `file_id`, which belongs
    to one Hydrus database and is used only for the requests of the same run.
    """

    hydrus_id: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """All files that a search found, each once: parallel arrays, sorted by SHA-256.

    `hydrus_ids` int64, `sha256` 32 bytes each (dtype S32). A million of them take 40 MB; as
    `FoundFile`s they would take ten times as much.
    """

    hydrus_ids: NDArray[np.int64]
    sha256: NDArray[np.bytes_]

    @classmethod
    def of(cls, hydrus_ids: Sequence[int], hashes: Sequence[str]) -> "FoundFiles":
        """Take up what Hydrus lists: its ids, and the SHA-256 (64 hex digits) in the same order.

        Raises:
            ValueError: the lists differ in length.
        """
        if len(hydrus_ids) != len(hashes):
            raise ValueError(f"{len(hydrus_ids)} ids and {len(hashes)} hashes")
        sha256, positions = np.unique(sha256_array(hashes), return_index=True)
        return cls(np.array(hydrus_ids, np.int64)[positions], sha256)

    def __len__(self) -> int:
        return len(self.hydrus_ids)

    def chosen(self, which: NDArray[np.bool_]) -> list[FoundFile]:
        """Give some of them one by one, in the order of Hydrus's ids."""
        chosen = zip(self.hydrus_ids[which].tolist(), hex_hashes(self.sha256[which]), strict=True)
        return [FoundFile(hydrus_id, sha256) for hydrus_id, sha256 in sorted(chosen)]


def sha256_array(hashes: Sequence[str]) -> NDArray[np.bytes_]:
    """Turn SHA-256 of 64 hex digits into an array of 32 bytes each."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), "S32")


def hex_hashes(sha256: NDArray[np.bytes_]) -> list[str]:
    """Undo `sha256_array`."""
    # numpy drops zeros at the end of bytes.
    return [each.ljust(32, b"\0").hex() for each in sha256.tolist()]


@dataclass(frozen=True, slots=True)
class IndexedFiles:
    """All files that the index knows: parallel arrays, sorted by SHA-256.

    `ids` int64; `sha256` dtype S32; `present` is false for those that Hydrus no longer finds,
    `pictured` for those without a thumbnail, and `recheck` is true for such as are due to be asked
    for again (all bool).
    """

    ids: NDArray[np.int64]
    sha256: NDArray[np.bytes_]
    present: NDArray[np.bool_]
    pictured: NDArray[np.bool_]
    recheck: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What Hydrus says of a file. None where Hydrus does not know."""

    hydrus_id: int
    sha256: str
    size_bytes: int | None
    mime: str | None
    width_px: int | None
    height_px: int | None
    duration_ms: float | None
    num_frames: int | None

    def found(self) -> FoundFile:
        """Go back to what the search knew of it."""
        return FoundFile(self.hydrus_id, self.sha256)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A file's thumbnail as Hydrus served it: the bytes of a JPEG or PNG."""

    file: RemoteFile
    picture: bytes


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file that cannot be compared, and why. It is asked for again after a week."""

    file: RemoteFile
    reason: str


@dataclass(frozen=True, slots=True)
class NotFetched:
    """A file whose metadata or thumbnail could not be had this time; the next run tries again."""

    file: FoundFile
    reason: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A thumbnail made comparable by the threshold rule.

    `average_hash` is 64 bits as an unsigned integer, first pixel highest; `picture` is trimmed,
    resized, filtered and cut to its central part as the config says, and `coarse` made of it.
    """

    average_hash: int
    picture: Picture
    coarse: CoarsePicture


@dataclass(frozen=True, slots=True)
class Packed:
    """The same as the index keeps it: the bytes of both pictures (see `hydindex.packing`)."""

    average_hash: int
    pixels: bytes
    sums: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """A thumbnail made comparable by the calibrated decision.

    `views` uint8 (1 or 2, VIEW_PX, VIEW_PX): the whole picture in grey, and what is left of it
    without its bars, where it has any. `content_shape` is the aspect ratio of that in units of the
    whole's: 1.0 without bars. Both hashes are 64 bits as unsigned integers.
    """

    average_hash: int
    content_hash: int
    content_shape: float
    views: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SampledFrames:
    """What a second look sees of a video: each frame as its signature shows a thumbnail.

    `views` uint8 (MOMENTS, FRAMES_A_MOMENT, 2, VIEW_PX, VIEW_PX), of a frame without bars twice the
    same; `content_shapes` float64 (MOMENTS, FRAMES_A_MOMENT), see `Signature`.
    """

    views: NDArray[np.uint8]
    content_shapes: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ComparableFile:
    """A file with its thumbnail and what was made of it: ready for the index."""

    thumbnail: Thumbnail
    made: Packed | Signature


@dataclass(frozen=True, slots=True)
class Comparables:
    """What the candidate rules look at, of many files: parallel arrays of one length.

    `ids` int64; `duration_ms` and `aspect_ratio` (width / height) float64, NaN where unknown;
    `average_hash` uint64; the same of what is left without bars, which under the threshold rule is
    the whole; `compared_since` int64, the step at which the file joined the compared set, or
    NOT_COMPARED.
    """

    ids: NDArray[np.int64]
    duration_ms: NDArray[np.float64]
    aspect_ratio: NDArray[np.float64]
    average_hash: NDArray[np.uint64]
    content_aspect_ratio: NDArray[np.float64]
    content_hash: NDArray[np.uint64]
    compared_since: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, chosen: slice | NDArray[np.bool_] | NDArray[np.intp]) -> "Comparables":
        return Comparables(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def __add__(self, other: "Comparables") -> "Comparables":
        names = [field.name for field in fields(self)]
        return Comparables(
            *(np.concatenate((getattr(self, name), getattr(other, name))) for name in names)
        )


NOT_COMPARED: Final = np.iinfo(np.int64).max
"""The `compared_since` of a file outside of the compared set: later than every step."""


@dataclass(frozen=True, slots=True)
class FilePair:
    """An unordered pair of two different files, by their ids in the index."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"not a pair in order: {self.low}, {self.high}; use FilePair.of")

    @classmethod
    def of(cls, a: int, b: int) -> "FilePair":
        """Put two ids in order.

        Raises:
            ValueError: the two are the same file.
        """
        return cls(min(a, b), max(a, b))

    @property
    def ids(self) -> tuple[int, int]:
        """Both of them, in order."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class SignedFiles:
    """What the calibrated decision looks at, of many files: parallel arrays of one length.

    `duration_ms` and both aspect ratios float64, NaN where unknown; both hashes uint64; `has_bars`
    bool; `views` uint8 (files, 2, 32, 32), of a file without bars twice the same.
    """

    duration_ms: NDArray[np.float64]
    aspect_ratio: NDArray[np.float64]
    average_hash: NDArray[np.uint64]
    content_aspect_ratio: NDArray[np.float64]
    content_hash: NDArray[np.uint64]
    has_bars: NDArray[np.bool_]
    views: NDArray[np.uint8]

    @classmethod
    def of_frames(
        cls,
        sampled: Sequence[SampledFrames],
        durations_ms: Sequence[float | None],
        aspect_ratios: Sequence[float | None],
    ) -> "SignedFiles":
        """Give every frame of some videos as a file of its own, one video after the other.

        Frames have no average hashes: these are 0.
        """
        frames_each = MOMENTS * FRAMES_A_MOMENT
        count = len(sampled) * frames_each
        views = np.empty((count, 2, VIEW_PX, VIEW_PX), np.uint8)
        shapes = np.empty(count)
        for position, each in enumerate(sampled):
            part = slice(position * frames_each, (position + 1) * frames_each)
            views[part] = each.views.reshape(-1, 2, VIEW_PX, VIEW_PX)
            shapes[part] = each.content_shapes.ravel()
        ratios = np.repeat(np.array(aspect_ratios, np.float64), frames_each)
        no_hashes = np.zeros(count, np.uint64)
        return cls(
            duration_ms=np.repeat(np.array(durations_ms, np.float64), frames_each),
            aspect_ratio=ratios,
            average_hash=no_hashes,
            content_aspect_ratio=ratios * shapes,
            content_hash=no_hashes,
            has_bars=(views[:, 0] != views[:, 1]).any(axis=(1, 2)),
            views=views,
        )


BY_FRAMES: Final = "frames"
"""The name of a second look's probability among the evidence for a pair."""


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """A pair that matches, and how surely.

    By the threshold rule `score` is its similarity, 1.0 for identical pictures. By the calibrated
    decision it is a probability, and `evidence` what that rests on, by name. Whether a doubtful one
    matches, a second look decides.
    """

    pair: FilePair
    score: float
    evidence: Mapping[str, float] | None = None
    is_doubtful: bool = False


class PairState(StrEnum):
    """Where a matching pair stands on its way to Hydrus.

    queued -> known, or queued -> sending -> posted | refused. The next run treats a refused pair
    like a queued one, and queues a sending one again if Hydrus does not have it. Posted and known
    are final: such a pair is never sent again.
    """

    QUEUED = "queued"
    SENDING = "sending"
    POSTED = "posted"
    KNOWN = "known"
    REFUSED = "refused"


class Outcome(StrEnum):
    """What the user has decided about a pair."""

    DUPLICATE = "duplicate"
    ALTERNATE = "alternate"
    FALSE_POSITIVE = "false_positive"

    @property
    def is_right(self) -> bool:
        """Whether it was worth the user's while: both files show the same, if not all alike."""
        return self is not Outcome.FALSE_POSITIVE


KEPT_STATES: Final = (PairState.SENDING, PairState.KNOWN, PairState.POSTED)
"""States in which Hydrus has, or may have, heard of a pair; the later ones say more."""


@dataclass(frozen=True, slots=True)
class OutboxPair:
    """A pair in the outbox, with the SHA-256 of both files by which Hydrus knows them."""

    pair: FilePair
    sha256_low: str
    sha256_high: str
    score: float


@dataclass(frozen=True, slots=True)
class DecidedPair:
    """A pair that the user has decided about, and the evidence that hydindex had for it.

    Its files go by their SHA-256, in order: what is learnt must not depend on how files are
    numbered, which is as they came.
    """

    sha256s: tuple[str, str]
    evidence: Mapping[str, float]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class PostedPair:
    """A pair that Hydrus was told of, or may have been, in words that any index understands.

    `state` is posted, known or sending; `state_at` is when it came to that, as in `clock.now`.
    """

    sha256_a: str
    sha256_b: str
    state: PairState
    score: float
    state_at: str
