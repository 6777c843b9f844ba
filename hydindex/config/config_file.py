"""Read hydrus_config.json, describe its errors, and resolve the paths in it."""

import difflib
import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hydindex.common.errors import MAY_BE_A_KEY, ConfigError
from hydindex.config.settings import API_KEY_VARIABLE, Config


def load(path: Path) -> Config:
    """Read and check a config file (JSON, UTF-8).

    The environment variable HYDINDEX_API_KEY overrides `api_key`.

    Raises:
        ConfigError: the file is unreadable or not JSON, or a key is wrong, unknown or repeated.
    """
    values = _read(path)
    try:
        config = _parse(values)
    except ValidationError as error:
        problems = "\n".join(f"  {problem}" for problem in describe_errors(error))
        raise ConfigError(
            f"The config {path} is wrong:\n{problems}",
            "Correct these keys. The config reference lists every key with its range and default.",
        ) from None
    for section_name, key in (("decision", "model"), ("compare", "sscd_model")):
        section = getattr(config, section_name)
        if (model := getattr(section, key)) is not None:
            resolved = _resolve(path, str(model), f"{section_name}.{key}")
            changed = section.model_copy(update={key: resolved})
            config = config.model_copy(update={section_name: changed})
    return config


def describe_errors(error: ValidationError) -> list[str]:
    """Return one line per wrong key."""
    return [_describe(problem) for problem in error.errors()]


def index_path(config: Config, config_path: Path) -> Path:
    """Return the path of the index: `index.path`, or hydindex.db beside the config."""
    # Resolve links: the lock file must be the same by whatever path the index is opened.
    return _resolve(config_path, config.index.path or "hydindex.db", "index.path").resolve()


def log_path(config: Config, config_path: Path) -> Path | None:
    """Return the path of the log file, if there is one."""
    return _resolve(config_path, config.log.path, "log.path") if config.log.path else None


def trusted_certificates(config: Config, config_path: Path) -> bool | str:
    """Return what may prove an https client's identity.

    A path: the certificates in that PEM file. True: any certificate authority that ships with
    requests. False: nothing is verified.

    Raises:
        ConfigError: the file is unreadable or contains no certificate.
    """
    if config.tls.ca_bundle is None:
        return config.tls.verify
    path = _resolve(config_path, config.tls.ca_bundle, "tls.ca_bundle")
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise ConfigError(
            f"tls.ca_bundle is not a certificate file: {path}: {error}",
            "Name a PEM file, such as client.crt in Hydrus's database folder.",
        ) from None
    return str(path)


def _resolve(config_path: Path, name: str, key: str) -> Path:
    """Resolve a path from the config, relative to the config's folder."""
    if MAY_BE_A_KEY.search(name):  # creating that file would store the key
        raise ConfigError(f"{key} contains what may be an access key", "Choose another path.")
    try:
        return config_path.absolute().parent / Path(name).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{key}: {error}", "Name a folder that exists.") from None


def _parse(values: dict[str, Any]) -> Config:
    # Strict mode takes a list for a tuple only from JSON.
    return Config.model_validate_json(json.dumps(values))


def _read(path: Path) -> dict[str, Any]:
    """Read the unchecked values, with `api_key` from the environment if it is set there."""
    try:
        # Windows editors may write a byte order mark.
        values = json.loads(
            path.read_text(encoding="utf-8-sig"), object_pairs_hook=_refuse_repeated_keys
        )
    except FileNotFoundError:
        raise ConfigError(
            f"There is no config at {path}",
            "Run hydindex init to create one, or name yours with --config.",
        ) from None
    except (OSError, RecursionError, ValueError) as error:  # not UTF-8, or not JSON
        raise ConfigError(
            f"The config {path} cannot be read: {error}",
            "Correct the file (often, a comma or a quote is missing) or its permissions.",
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(
            f"The config {path} is not a JSON object", "Begin the file with { and end it with }."
        )
    if key := os.environ.get(API_KEY_VARIABLE):
        values["api_key"] = key
    return values


def _refuse_repeated_keys(items: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in items:
        if name in seen:
            raise ConfigError(f'The config sets "{name}" twice', "Remove one of the two.")
        seen[name] = value
    return seen


def _describe(problem: ErrorDetails) -> str:
    place = problem["loc"]
    if problem["type"] == "extra_forbidden":
        unknown = ".".join(str(part) for part in place)
        (nearest,) = difflib.get_close_matches(unknown, _ALL_KEYS, n=1, cutoff=0.0)
        return f'unknown key "{unknown}"; did you mean "{nearest}"?'
    # pydantic adds the branch of a union ("str", "list[...]"), which users don't know.
    name = ".".join(str(part) for part in place if isinstance(part, int) or part in _KEY_PARTS)
    message = problem["msg"].removeprefix("Value error, ")
    return f"{name}: {message[0].lower()}{message[1:]}"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        yield key
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{key}.")


_ALL_KEYS: Final = tuple(_keys(Config))
_KEY_PARTS: Final = frozenset(part for key in _ALL_KEYS for part in key.split("."))
