"""Sections of the config: each key with its type, range, default and documentation.

The attribute docstrings become the JSON schema for editors and the config reference.
"""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

# MS-SSIM halves a thumbnail four times and slides an 11-pixel window over each: (11 - 1) * 2**4.
MS_SSIM_SIDE_PX: Final = 160

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Timeout = Annotated[float, Field(gt=0.0, le=86_400.0)]
HashSide = Annotated[int, Field(ge=8, le=1024)]
ThumbnailSide = Annotated[int, Field(ge=8, le=2048)]
Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]+$")]
Device = Literal["auto", "cpu", "cuda", "mps"]


class Section(BaseModel):
    """Base of every config section: exact types, no unknown keys, immutable."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class ProgressSettings(Section):
    """Progress bars."""

    enabled: bool = True
    """Show progress bars if stderr is a terminal."""
    type: Literal["tqdm"] = "tqdm"
    """Style of the progress bars."""


class Filters(Section):
    """Filters that exclude pairs before they are scored."""

    use_ar_filter: bool = True
    """Require similar aspect ratios (candidate_generation.arTol).

    Cropped copies, and copies on blurred bars, are found only without it (method "calibrated").
    """
    use_ahash_prefilter: bool = True
    """Require similar average hashes (ahash.hammingMax); only for decision.method "threshold"."""


class CandidateGeneration(Section):
    """Maximum differences between the two files of a candidate pair."""

    tolerance_s: float = Field(1.0, alias="tolSeconds", ge=0.0, le=86_400.0)
    """Maximum difference in duration, in seconds."""
    tolerance_percent: float = Field(0.0, alias="tolPercent", ge=0.0, le=50.0)
    """Maximum difference in duration, in percent of the longer video.

    The larger of both tolerances counts: 5 also finds copies that are 5 % faster.
    """
    aspect_ratio_tolerance: Fraction = Field(0.05, alias="arTol")
    """Maximum difference in aspect ratio, as a fraction of the larger."""


class AverageHash(Section):
    """The 64-bit average hash of a thumbnail; only for decision.method "threshold"."""

    resize: tuple[HashSide, HashSide] = (64, 64)
    """Width and height, in pixels, of the thumbnail when it is hashed."""
    hamming_max: int = Field(32, alias="hammingMax", ge=0, le=64)
    """Maximum number of differing bits."""
    io_workers: int | None = Field(None, ge=1, le=64)
    """Older name of network.max_connections. If both are set, the lower value applies."""
    prefix_bits: Any = Field(None, alias="prefixBits")
    """Ignored; accepted for compatibility with older configs."""


class PreprocessingSettings(Section):
    """Thumbnail preparation and similarity measure; only for decision.method "threshold"."""

    fixed_resize: tuple[ThumbnailSide, ThumbnailSide] = Field((256, 256), alias="fixedResize")
    """Width and height, in pixels, of the prepared thumbnail."""
    to_gray: bool = Field(True, alias="toGray")
    """Compare luminance only. Otherwise, average the scores of red, green and blue."""
    pre_blur_sigma: float = Field(0.6, alias="preBlurSigma", ge=0.0, le=64.0)
    """Standard deviation of the Gaussian blur, in pixels. 0 disables it."""
    hist_eq: bool = Field(False, alias="histEq")
    """Equalize the histogram."""
    use_ms_ssim: bool = Field(True, alias="useMSSSIM")
    """Score with MS-SSIM. Otherwise, use SSIM."""
    center_fraction: float = Field(0.90, alias="centerFrac", gt=0.0, le=1.0)
    """Fraction of the width and height, around the center, that is scored.

    MS-SSIM needs more than 160 pixels on each side.
    """
    trim_strength: Fraction = Field(0.15, alias="trimStrength")
    """Trim flat borders whose contrast is below this fraction of the maximum."""
    min_keep_fraction: Fraction = Field(0.70, alias="minKeepFrac")
    """Don't trim a dimension if less than this fraction would remain."""

    @property
    def scored_size_px(self) -> tuple[int, int]:
        """Width and height of the scored area, in pixels."""
        width_px, height_px = self.fixed_resize
        return round(width_px * self.center_fraction), round(height_px * self.center_fraction)

    @model_validator(mode="after")
    def _require_scorable_size(self) -> "PreprocessingSettings":
        name, minimum_px = ("MS-SSIM", MS_SSIM_SIDE_PX + 1) if self.use_ms_ssim else ("SSIM", 7)
        shorter_px = min(self.scored_size_px)
        if shorter_px < minimum_px:
            raise ValueError(
                f"fixedResize x centerFrac leaves {shorter_px} pixels on the shorter side; "
                f"{name} needs at least {minimum_px}"
            )
        return self


class MatchingSettings(Section):
    """How hydindex decides that a candidate pair is a match."""

    method: Literal["threshold", "calibrated"] = "threshold"
    """Matching method.

    "calibrated" turns features of the thumbnails and durations into a probability.
    "threshold" compares the MS-SSIM or SSIM of the thumbnails with similarity_threshold.
    preprocessing and similarity_threshold apply only to "threshold".
    """
    min_probability: Fraction = 0.6
    """Minimum probability of a match (method "calibrated")."""
    model: Annotated[Path, Field(strict=False)] | None = None
    """Model file written by hydindex calibrate --write; by default, the built-in model.

    Relative to the config's folder.
    """


class Frames(Section):
    """Frame verification: check doubtful pairs on video frames (method "calibrated").

    Reads only parts of the videos: from disk if Hydrus runs on this machine and the access key has
    the permission *see local file paths* (13), otherwise through the Client API.
    """

    enabled: bool = False
    """Verify pairs that the thumbnails leave doubtful. Requires hydindex[frames]."""
    max_per_run: int = Field(1000, ge=1)
    """Maximum number of pairs to verify per run, most probable first; later runs continue."""


class Post(Section):
    """Posting of matches to Hydrus."""

    batch_size: int = Field(200, ge=1, le=10_000)
    """Pairs per request."""
    max_retries: int = Field(3, ge=0, le=100)
    """Maximum retries of an unanswered post; sends again only what Hydrus did not store."""
    retry_pause_s: float = Field(1.0, ge=0.0, le=3600.0)
    """Pause before each retry, in seconds."""
    do_default_merge: bool = True
    """Sent to Hydrus with each pair; has no effect on potential duplicates."""
    pairs: Literal["all", "spanning"] = "all"
    """Pairs to post: "all", or "spanning" for the fewest, strongest pairs that connect each group.

    With "spanning", other pairs replace those that you mark as not duplicates.
    """
    max_per_run: int | None = Field(None, ge=1)
    """Maximum number of pairs to post per run, best matches first; the rest stay queued."""
    min_probability_to_post: Fraction = 0.0
    """Keep pairs below this probability queued (method "calibrated")."""


class Timeouts(Section):
    """Timeouts of requests to Hydrus."""

    api: Timeout = 60
    """Timeout of API reads, in seconds."""
    thumb: Timeout = 60
    """Timeout of thumbnails, in seconds."""
    post: Timeout = 60
    """Timeout of posts, in seconds."""


class Network(Section):
    """Load on the Hydrus client."""

    max_connections: int = Field(8, ge=1, le=64)
    """Maximum number of concurrent requests."""
    backoff_factor: float = Field(0.5, ge=0.0, le=60.0)
    """Wait before the first retry of a read, in seconds; doubles per retry, up to 30."""


class Tls(Section):
    """Verification of an https client."""

    verify: bool = True
    """Require a trusted certificate."""
    ca_bundle: Text | None = None
    """PEM file of trusted certificates, such as client.crt in Hydrus's database folder.

    Relative to the config's folder.
    """
    server_name: Text | None = None
    """Name on the certificate if it differs from the host in api_url; Hydrus uses localhost."""

    @model_validator(mode="after")
    def _require_verify(self) -> "Tls":
        if not self.verify and (self.ca_bundle or self.server_name):
            raise ValueError("ca_bundle and server_name have no effect while verify is false")
        return self


class Compare(Section):
    """How candidates are found, and where pairs are scored."""

    descriptor: Literal["efficientnet-lite0", "sscd"] = "efficientnet-lite0"
    """Descriptor of thumbnails, which selects candidates (method "calibrated").

    "sscd" is Meta's descriptor for copy detection. It takes compare.sscd_model if set, otherwise
    hydindex[sscd], a smaller network distilled from it (Python 3.12 or newer).
    """
    sscd_model: Annotated[Path, Field(strict=False)] | None = None
    """TorchScript file of SSCD with 512 numbers, such as sscd_disc_mixup.torchscript.pt.

    Relative to the config's folder. Another file requires a rebuild.
    """
    device: Device = "auto"
    """Processor that computes descriptors, finds candidates (method "calibrated") or scores pairs
    (method "threshold"). All devices give the same matches.

    "auto" is the CPU for "calibrated", because torch takes seconds to load and a nightly run needs
    no GPU; for "threshold", it is a GPU if torch finds one. Descriptors are computed once and
    stored: if a device rounds them differently, results still depend only on the stored ones.
    """
    scheduler: Annotated[str, StringConstraints(pattern=r"^(tcp|tls)://[^/\s]+:\d+$")] | None = None
    """Address of a Dask scheduler, such as tcp://127.0.0.1:8786, to score pairs on its cluster.

    Meant for a first run that one machine cannot finish overnight. Requires the same version of
    hydindex[dask] here, on the scheduler and on the workers. A scheduler can run any code on all
    of them: one on another machine needs a tls:// address or trust_scheduler.
    """
    trust_scheduler: bool = False
    """Connect without TLS to a scheduler on another machine.

    Whoever controls that machine, or the network between, can then run code here.
    """

    @property
    def gpu(self) -> Device | None:
        """The GPU that the config names, if it names one."""
        return self.device if self.device in ("cuda", "mps") else None

    @model_validator(mode="after")
    def _require_sscd(self) -> "Compare":
        if self.sscd_model and self.descriptor != "sscd":
            raise ValueError('sscd_model has no effect unless descriptor is "sscd"')
        return self

    @model_validator(mode="after")
    def _require_trusted_scheduler(self) -> "Compare":
        if self.scheduler and not self.trust_scheduler and not _is_trusted(self.scheduler):
            raise ValueError(
                f"the scheduler {self.scheduler} could run any code here: use a tls:// address, or "
                "set trust_scheduler to true if you trust every machine on the way"
            )
        return self


def _is_trusted(scheduler: str) -> bool:
    """Return whether an address uses TLS or stays on this machine."""
    protocol, _, place = scheduler.partition("://")
    host = place.rpartition(":")[0].strip("[]").lower()
    try:
        return protocol == "tls" or host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


class IndexFile(Section):
    """The index file."""

    path: Text | None = None
    """Path of the index; by default, hydindex.db. Relative to the config's folder."""
    forget_gone_days: int | None = Field(None, ge=1, le=36_500)
    """Delete stored thumbnails of files that Hydrus has not listed for this many days.

    Posted pairs stay recorded. Skipped if it would affect more files than remain.
    """


class LogFile(Section):
    """A log file, in addition to stderr."""

    path: Text | None = None
    """Path of the log file; by default, none is written. Relative to the config's folder.

    Rotated at 1 MB; the last three files are kept.
    """


class Popup(Section):
    """A message in the Hydrus client."""

    enabled: bool = False
    """Show a popup after an update that changed something or needs attention.

    The access key needs the permission *manage popups* (10).
    """
