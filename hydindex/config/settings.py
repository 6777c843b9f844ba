"""The config, hydrus_config.json, and its JSON schema."""

import re
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic.json_schema import GenerateJsonSchema

from hydindex.common.errors import ConfigError
from hydindex.config import sections

PLACEHOLDER_KEY: Final = "your-hydrus-api-key-here"
API_KEY_VARIABLE: Final = "HYDINDEX_API_KEY"

Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Config(sections.Section):
    """hydrus_config.json. Every key has a default; only api_key must be set."""

    editor_schema: str | None = Field(None, alias="$schema")
    """JSON schema for editors; ignored by hydindex."""
    api_key: str = PLACEHOLDER_KEY
    """Access key. The environment variable HYDINDEX_API_KEY overrides it."""
    api_url: str = "http://127.0.0.1"
    """Address of the Client API, http or https, without the port."""
    api_port: int = Field(42001, ge=1, le=65_535)
    """Port of the Client API. Hydrus's own default is 45869."""
    tags: list[Tag | Annotated[list[Tag], Field(min_length=1)]] = Field(
        ["system:filetype is video"], min_length=1
    )
    """Search for the files to index, in Hydrus's syntax; an inner list is an OR group.

    Still images work too.
    """
    verbose: bool = False
    """Log the score of every pair, like the option -v."""
    verbosity: int | None = Field(None, ge=0, le=2)
    """Older spelling of verbose: 0 logs warnings only, 1 the steps of a run, 2 every score."""
    progress: sections.ProgressSettings = sections.ProgressSettings()
    filters: sections.Filters = sections.Filters()
    candidate_generation: sections.CandidateGeneration = sections.CandidateGeneration()
    ahash: sections.AverageHash = sections.AverageHash()
    preprocessing: sections.PreprocessingSettings = sections.PreprocessingSettings()
    similarity_threshold: sections.Fraction = 0.60
    """Minimum score of a match (method "threshold")."""
    decision: sections.MatchingSettings = sections.MatchingSettings()
    frames: sections.Frames = sections.Frames()
    post: sections.Post = sections.Post()
    timeouts: sections.Timeouts = sections.Timeouts()
    network: sections.Network = sections.Network()
    tls: sections.Tls = sections.Tls()
    compare: sections.Compare = sections.Compare()
    index: sections.IndexFile = sections.IndexFile()
    log: sections.LogFile = sections.LogFile()
    popup: sections.Popup = sections.Popup()
    ssim_parallel: Any = None
    """Ignored; accepted for compatibility with older configs."""

    @model_validator(mode="after")
    def _require_calibrated_method(self) -> "Config":
        values = {
            "frames.enabled": self.frames.enabled,
            "post.min_probability_to_post": self.post.min_probability_to_post,
            "compare.descriptor": self.compare.descriptor != "efficientnet-lite0",
        }
        for key, value in values.items():
            if value and self.decision.method != "calibrated":
                raise ValueError(f'{key} has no effect unless decision.method is "calibrated"')
        return self

    @field_validator("api_url")
    @classmethod
    def _require_http_address(cls, value: str) -> str:
        value = value.strip()
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError('must be an address such as "http://127.0.0.1"')
        if parts.port is not None or parts.netloc.endswith(":"):
            raise ValueError(f"must not contain a port; put {parts.port or 'it'} into api_port")
        try:
            parts.hostname.encode("idna")
        except UnicodeError:
            raise ValueError(f"{parts.hostname} is not a valid host name") from None
        if "@" in parts.netloc or parts.query or parts.fragment or re.search(r"[\s;,]", value):
            raise ValueError("must contain only a scheme, a host and a path")
        return parts._replace(scheme=parts.scheme.lower()).geturl().rstrip("/")

    @property
    def base_url(self) -> str:
        """URL of the Client API: scheme, host, port and path, without a trailing slash."""
        parts = urlsplit(self.api_url)
        return f"{parts.scheme}://{parts.netloc}:{self.api_port}{parts.path}"

    @property
    def log_level(self) -> int:
        """0: log warnings only; 1: the steps of a run; 2: also the score of every pair."""
        if self.verbose:
            return 2
        return 1 if self.verbosity is None else self.verbosity

    @property
    def max_connections(self) -> int:
        """Maximum number of concurrent requests, from either key for it."""
        limit = self.network.max_connections
        return min(limit, self.ahash.io_workers or limit)

    @property
    def ignored_keys(self) -> list[str]:
        """Keys that are set but have no effect."""
        keys = {"ahash.prefixBits": self.ahash.prefix_bits, "ssim_parallel": self.ssim_parallel}
        return [key for key, value in keys.items() if value is not None]

    def require_key(self) -> str:
        """Return the access key.

        Raises:
            ConfigError: it is empty, the placeholder, or contains characters no key has.
        """
        key = self.api_key.strip()
        if key in ("", PLACEHOLDER_KEY):
            raise ConfigError(
                "api_key is not set",
                "In Hydrus, open services > review services > client api > add, and allow 'search "
                "for and fetch files' and 'edit file relationships'. Put the key into api_key or "
                f"the environment variable {API_KEY_VARIABLE}.",
            )
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(
                "api_key contains characters that no access key has",
                "Copy the key from Hydrus again: 64 hexadecimal digits.",
            )
        return key


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the config, for editors."""
    schema = Config.model_json_schema()
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "hydrus_config.json"}
