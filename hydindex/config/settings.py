"""The config: every key with its type, range and default."""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema

from hydindex.common.errors import ConfigError

PLACEHOLDER_KEY = "your-hydrus-api-key-here"


API_KEY_VARIABLE = "HYDINDEX_API_KEY"


# MS-SSIM halves a picture four times and slides an 11-pixel window over each: (11 - 1) * 2**4.
MS_SSIM_SIDE_PX = 160


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


Device = Literal["auto", "cpu", "cuda", "mps"]


Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Section(BaseModel):
    """What all parts of the config share: exact types, no unknown keys, no change once read."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,  # they explain the keys in the JSON schema
    )


class Progress(Section):
    """Progress bars."""

    enabled: bool = True
    """Show them, where stderr is a terminal."""
    type: Literal["tqdm"] = "tqdm"
    """How they are drawn."""


class Filters(Section):
    """Which cheap tests a pair must pass before it is scored."""

    use_ar_filter: bool = True
    """Compare only files of about the same aspect ratio."""
    use_ahash_prefilter: bool = True
    """Compare only files whose average hashes are near."""


class CandidateGeneration(Section):
    """How far apart two files may lie and still be scored."""

    tolerance_s: float = Field(1.0, alias="tolSeconds", ge=0.0, le=86_400.0)
    """How far durations may differ, in seconds."""
    aspect_ratio_tolerance: Fraction = Field(0.05, alias="arTol")
    """How far aspect ratios may differ, as a part of the larger."""


class AverageHash(Section):
    """The average hash (64 bits)."""

    resize: tuple[Annotated[int, Field(ge=8, le=1024)], Annotated[int, Field(ge=8, le=1024)]] = (
        64,
        64,
    )
    """Width and height, in pixels, that a thumbnail is brought to before it is hashed."""
    hamming_max: int = Field(32, alias="hammingMax", ge=0, le=64)
    """How many of the 64 bits may differ."""
    io_workers: int | None = Field(None, ge=1, le=64)
    """Fetch at most so many thumbnails at a time."""
    prefix_bits: Any = Field(None, alias="prefixBits")
    """Of the older script; accepted, no longer needed."""


class Preprocessing(Section):
    """How a thumbnail is prepared, and which similarity is computed on it."""

    fixed_resize: tuple[
        Annotated[int, Field(ge=8, le=2048)], Annotated[int, Field(ge=8, le=2048)]
    ] = Field((256, 256), alias="fixedResize")
    """Width and height, in pixels, of the prepared thumbnail."""
    to_gray: bool = Field(True, alias="toGray")
    """Compare brightness only; else the mean over red, green and blue."""
    pre_blur_sigma: float = Field(0.6, alias="preBlurSigma", ge=0.0, le=64.0)
    """Gaussian blur, in pixels."""
    hist_eq: bool = Field(False, alias="histEq")
    """Equalise the histogram."""
    use_ms_ssim: bool = Field(True, alias="useMSSSIM")
    """Score with MS-SSIM; else with SSIM."""
    center_fraction: float = Field(0.90, alias="centerFrac", gt=0.0, le=1.0)
    """Which central part of the picture is scored; for MS-SSIM more than 160 pixels a side."""
    trim_strength: Fraction = Field(0.15, alias="trimStrength")
    """Flat borders are cut off where their contrast is below this part of the largest."""
    min_keep_fraction: Fraction = Field(0.70, alias="minKeepFrac")
    """A direction that would be cut to less than this part is left whole."""

    @property
    def scored_size_px(self) -> tuple[int, int]:
        """Width and height of the central part that is scored."""
        width_px, height_px = self.fixed_resize
        return round(width_px * self.center_fraction), round(height_px * self.center_fraction)

    @model_validator(mode="after")
    def _is_large_enough_to_score(self) -> "Preprocessing":
        shorter_px = min(self.scored_size_px)
        if self.use_ms_ssim and shorter_px <= MS_SSIM_SIDE_PX:
            raise ValueError(
                f"fixedResize x centerFrac leaves {shorter_px} pixels on the shorter side; "
                f"MS-SSIM needs more than {MS_SSIM_SIDE_PX}"
            )
        if shorter_px < 7:
            raise ValueError(
                f"fixedResize x centerFrac leaves {shorter_px} pixels on the shorter side; "
                "SSIM needs at least 7"
            )
        return self


class Decision(Section):
    """What makes a candidate pair a match."""

    method: Literal["threshold", "calibrated"] = "threshold"
    """What makes a pair a match.

    "threshold": its similarity reaches similarity_threshold. "calibrated": evidence from the
    thumbnails, also without their bars, and from the durations is turned into a probability; then
    the keys of preprocessing and compare, and similarity_threshold, have no effect.
    """
    min_probability: Fraction = 0.6
    """The probability from which on a pair matches, where the decision is calibrated."""
    model: Annotated[Path, Field(strict=False)] | None = None
    """A model of your own, as hydindex calibrate --write makes it; else the shipped one.

    A relative path counts from the config's folder.
    """


class Frames(Section):
    """A second look at doubtful pairs, by frames of both videos.

    It belongs to the calibrated decision. Only parts of the videos are fetched; with the permission
    *see local file paths* (13) they are read from the disk, where Hydrus runs on the same machine.
    """

    enabled: bool = False
    """Look at frames of both videos where the thumbnails leave a doubt; needs hydindex[frames]."""
    max_per_run: int = Field(1000, ge=1)
    """Look at so many pairs a run at most, the most probable first; the rest waits for the next."""


class Post(Section):
    """How matching pairs are sent to Hydrus."""

    batch_size: int = Field(200, ge=1, le=10_000)
    """Pairs in one request."""
    max_retries: int = Field(3, ge=0, le=100)
    """How often a post without an answer is tried again, once it is known not to have arrived."""
    retry_pause_s: float = Field(1.0, ge=0.0, le=3600.0)
    """After how many seconds it is tried again."""
    do_default_merge: bool = True
    """Handed to Hydrus with each pair; it has no effect on potential duplicates."""
    pairs: Literal["all", "spanning"] = "all"
    """Post every pair, or only so many that the files that belong together hang together.

    "spanning" posts of a group of copies only the pairs that join it, the strongest links, and
    others in the place of those that you deny.
    """
    max_per_run: int | None = Field(None, ge=1)
    """Post so many pairs a run at most, the most certain first; the rest stays queued."""
    min_probability_to_post: Fraction = 0.0
    """Keep less probable pairs queued; for the calibrated decision only."""


class Timeouts(Section):
    """How long to wait for an answer, in seconds."""

    api: float = Field(60, gt=0.0, le=86_400.0)
    """For what is asked, in seconds."""
    thumb: float = Field(60, gt=0.0, le=86_400.0)
    """For a thumbnail, in seconds."""
    post: float = Field(60, gt=0.0, le=86_400.0)
    """For what is posted, in seconds."""


class Network(Section):
    """How hard to press the client."""

    max_connections: int = Field(8, ge=1, le=64)
    """Requests in flight."""
    backoff_factor: float = Field(0.5, ge=0.0, le=60.0)
    """Pause before a read is tried again, in seconds, doubling each time up to 30."""


class Tls(Section):
    """How an https address proves that it is the client."""

    verify: bool = True
    """Whether an https address must have a certificate that can be trusted."""
    ca_bundle: Annotated[str, StringConstraints(min_length=1)] | None = None
    """A file (PEM) of certificates to trust, such as client.crt in Hydrus's database folder."""
    server_name: Annotated[str, StringConstraints(min_length=1)] | None = None
    """The name on the certificate, if not the host in api_url; Hydrus's own says localhost."""

    @model_validator(mode="after")
    def _verifies_what_it_names(self) -> "Tls":
        if not self.verify and (self.ca_bundle or self.server_name):
            raise ValueError("ca_bundle and server_name have no effect while verify is false")
        return self


class Compare(Section):
    """Where pairs are scored."""

    device: Device = "auto"
    """The processor; auto takes a GPU where torch finds one. Decisions are the same on all."""
    scheduler: str | None = None
    """Score on the machines of a Dask cluster, such as tcp://host:8786.

    It is for a first run that one machine cannot finish overnight. Needs the same hydindex[dask]
    here, on the scheduler and on the workers.
    """

    @field_validator("scheduler")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(tcp|tls)://[^/\s]+:\d+", value):
            raise ValueError('must be an address like "tcp://host:8786"')
        return value


class IndexFile(Section):
    """Where the index lies, and what it may give up."""

    path: Annotated[str, StringConstraints(min_length=1)] | None = None
    """The file; else hydindex.db. A relative path counts from the config's folder."""
    forget_gone_days: int | None = Field(None, ge=1, le=36_500)
    """Give up the pictures of files that Hydrus has not found for so many days.

    The record of their posted pairs stays. Not while more files would be forgotten than are there.
    """

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("must not hold a null character")
        return value


class LogFile(Section):
    """A log with a line for every run, besides what goes to stderr."""

    path: Annotated[str, StringConstraints(min_length=1)] | None = None
    """The file; else none is written. A relative path counts from the config's folder.

    At 1 MB a new one is begun, and the last three are kept.
    """


class Popup(Section):
    """A note in Hydrus itself."""

    enabled: bool = False
    """Show one after an update that did something or needs attention, and none after any other.

    The key needs the permission to manage popups (10).
    """


class Config(Section):
    """The whole of hydrus_config.json; every key has a default but `api_key`."""

    editor_schema: str | None = Field(None, alias="$schema")
    """The JSON schema by which an editor explains this file; it has no other effect."""
    api_key: str = PLACEHOLDER_KEY
    """The access key; the environment variable HYDINDEX_API_KEY takes its place."""
    api_url: str = "http://127.0.0.1"
    """Where the Client API answers, http or https, without the port."""
    api_port: int = Field(42001, ge=1, le=65_535)
    """The port of the Client API; Hydrus's own default is 45869."""
    tags: Annotated[list[Tag | Annotated[list[Tag], Field(min_length=1)]], Field(min_length=1)] = [
        "system:filetype is video"
    ]
    """Which files to compare, as in Hydrus's search; an inner list is an OR group.

    Still images work as well.
    """
    verbose: bool = False
    """Log as the option -v does."""
    verbosity: int | None = Field(None, ge=0, le=2)
    """Another spelling of verbose: 0 logs warnings only, 1 the steps of a run, 2 every score."""
    progress: Progress = Progress()
    filters: Filters = Filters()
    candidate_generation: CandidateGeneration = CandidateGeneration()
    ahash: AverageHash = AverageHash()
    preprocessing: Preprocessing = Preprocessing()
    similarity_threshold: Fraction = 0.60
    """The score from which on a pair matches, where decision.method is threshold."""
    decision: Decision = Decision()
    frames: Frames = Frames()
    post: Post = Post()
    timeouts: Timeouts = Timeouts()
    network: Network = Network()
    tls: Tls = Tls()
    compare: Compare = Compare()
    index: IndexFile = IndexFile()
    log: LogFile = LogFile()
    popup: Popup = Popup()
    ssim_parallel: Any = None
    """Of the older script; accepted, no longer needed."""

    @model_validator(mode="after")
    def _goes_by_probabilities_only_where_there_are_some(self) -> "Config":
        if self.frames.enabled and self.decision.method != "calibrated":
            raise ValueError(
                'frames.enabled has no effect unless decision.method is "calibrated": the '
                "threshold rule has no doubts"
            )
        if self.post.min_probability_to_post and self.decision.method != "calibrated":
            raise ValueError(
                "post.min_probability_to_post has no effect unless decision.method is "
                '"calibrated"; similarity_threshold is what the threshold rule goes by'
            )
        return self

    @field_validator("api_url")
    @classmethod
    def _is_an_http_address(cls, value: str) -> str:
        value = value.strip()
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError('must be an address like "http://127.0.0.1"')
        if parts.port is not None or parts.netloc.endswith(":"):
            raise ValueError(f"must not hold a port; put {parts.port or 'it'} into api_port")
        try:
            parts.hostname.encode("idna")
        except UnicodeError:
            raise ValueError(f"has no valid host name: {parts.hostname}") from None
        if "@" in parts.netloc or parts.query or parts.fragment or re.search(r"[\s;,]", value):
            raise ValueError("must be just scheme and host")
        return parts._replace(scheme=parts.scheme.lower()).geturl().rstrip("/")

    @property
    def base_url(self) -> str:
        """Where the Client API answers: scheme, host, port and path, without a slash at the end."""
        parts = urlsplit(self.api_url)
        return f"{parts.scheme}://{parts.netloc}:{self.api_port}{parts.path}"

    @property
    def log_level(self) -> int:
        """0 logs warnings only, 1 the steps of a run, 2 every score as well."""
        if self.verbose:
            return 2
        return 1 if self.verbosity is None else self.verbosity

    @property
    def thumbnails_in_flight(self) -> int:
        """How many thumbnails are asked for at the same time."""
        return min(
            self.network.max_connections, self.ahash.io_workers or self.network.max_connections
        )

    @property
    def ignored_keys(self) -> list[str]:
        """Keys of the older script that are set but no longer needed."""
        keys = {"ahash.prefixBits": self.ahash.prefix_bits, "ssim_parallel": self.ssim_parallel}
        return [key for key, value in keys.items() if value is not None]

    def require_key(self) -> str:
        """Return the access key.

        Raises:
            ConfigError: it is still the placeholder, or empty.
        """
        if self.api_key.strip() in ("", PLACEHOLDER_KEY):
            raise ConfigError(
                "api_key is not set: the config still holds the placeholder",
                "In Hydrus: services > review services > client api > add; allow 'search for and "
                "fetch files' and 'edit file relationships', and put the key into api_key "
                f"(or into the environment variable {API_KEY_VARIABLE}).",
            )
        key = self.api_key.strip()
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(
                "api_key is no access key: it holds characters that no key has",
                "Copy the key from Hydrus again: 64 hexadecimal digits.",
            )
        return key


def json_schema() -> dict[str, Any]:
    """Describe every key of the config, with its range and default, for editors."""
    schema = Config.model_json_schema(schema_generator=_SchemaWithoutTitles)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "hydrus_config.json"}


class _SchemaWithoutTitles(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of the keys, which say nothing new."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def mistakes(error: ValidationError) -> list[str]:
    """Say for each key that is wrong what is wrong with it, in a line."""
    return [_describe(dict(problem)) for problem in error.errors()]


def _describe(problem: Mapping[str, Any]) -> str:
    """Turn one of pydantic's findings into a line that names the key and the mistake."""
    place = problem["loc"]
    # pydantic names the branch of a union ("str", "list[...]") inside the location; people
    # only know keys and positions.
    names = [str(part) for part in place if isinstance(part, int) or part in _ALL_KEY_PARTS]
    name = ".".join(names)
    if problem["type"] == "extra_forbidden":
        unknown = ".".join(str(part) for part in place)
        close = difflib.get_close_matches(unknown, _ALL_KEYS, n=1, cutoff=0.0)
        return f'unknown key "{unknown}"; the nearest known one is "{close[0]}"'
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}: {message[0].lower()}{message[1:]}"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        yield key
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{key}.")


_ALL_KEYS = tuple(_keys(Config))


_ALL_KEY_PARTS = frozenset(part for key in _ALL_KEYS for part in key.split("."))
