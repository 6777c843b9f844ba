"""Read hydrus_config.json, and resolve the paths that it names."""

import json
import os
from pathlib import Path
from typing import Any

from pydantic import (
    ValidationError,
)

from hydindex.common.errors import MAY_BE_A_KEY, ConfigError
from hydindex.config.settings import API_KEY_VARIABLE, Config, mistakes

_KEYS_TO_REACH_THINGS_BY = {"api_key", "api_url", "api_port", "tags", "tls", "index"}


def load(path: Path) -> Config:
    """Read and check a config file (JSON, UTF-8).

    The environment variable HYDINDEX_API_KEY, where set, takes the place of `api_key`.

    Raises:
        ConfigError: the file cannot be read, is not JSON, or holds a wrong, unknown or
            repeated key.
    """
    values = _values(path)
    try:
        config = Config.model_validate_json(json.dumps(values))
    except ValidationError as error:
        problems = "\n".join(f"  {mistake}" for mistake in mistakes(error))
        raise ConfigError(
            f"The config {path} is wrong:\n{problems}",
            "Mend these keys; the docs list every key with its range and default.",
        ) from None
    if config.decision.model is None:
        return config
    model = _beside(path, str(config.decision.model), "decision.model")
    decision = config.decision.model_copy(update={"model": model})
    return config.model_copy(update={"decision": decision})


def load_sound_part(path: Path) -> tuple[Config, frozenset[str]] | None:
    """Read what can be used of a config that `load` refuses, and which top-level keys cannot.

    These have their defaults. None where nothing can be used: the file is missing, or no JSON.
    """
    try:
        values = _values(path)
    except ConfigError:
        return None
    left_out: set[str] = set()
    while True:
        try:
            return Config.model_validate_json(json.dumps(values)), frozenset(left_out)
        except ValidationError as error:
            wrong = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
        if not wrong:  # keys that are sound by themselves contradict each other
            wrong = values.keys() - _KEYS_TO_REACH_THINGS_BY
        if wrong.isdisjoint(values):
            return None
        left_out |= wrong
        values = {key: value for key, value in values.items() if key not in wrong}


def index_path(config: Config, config_path: Path) -> Path:
    """Where the index lies: `index.path`, or hydindex.db beside the config."""
    # By its own name, because the lock is beside it.
    return _beside(config_path, config.index.path or "hydindex.db", "index.path").resolve()


def log_path(config: Config, config_path: Path) -> Path | None:
    """Where the log file lies, if there is to be one."""
    return _beside(config_path, config.log.path, "log.path") if config.log.path else None


def trusted_certificates(config: Config, config_path: Path) -> bool | str:
    """Which certificates an https address may have: those of a file, any sound one, or any at all.

    Raises:
        ConfigError: the file cannot be read, or holds none.
    """
    if config.tls.ca_bundle is None:
        return config.tls.verify
    import ssl

    path = _beside(config_path, config.tls.ca_bundle, "tls.ca_bundle")
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:  # among them ssl.SSLError
        raise ConfigError(
            f"tls.ca_bundle names no file of certificates: {path}: {error}",
            "Name one (PEM), such as client.crt in Hydrus's database folder.",
        ) from None
    return str(path)


def _beside(config_path: Path, name: str, key: str) -> Path:
    """Find a file that the config names; a relative path counts from the config's folder."""
    if MAY_BE_A_KEY.search(name):  # a file by that name would keep it
        raise ConfigError(f"{key} names a file after what may be an access key", "Name another.")
    try:
        return config_path.absolute().parent / Path(name).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{key}: {error}", "Name a folder that exists.") from None


def _values(path: Path) -> dict[str, Any]:
    """Read the file as it stands, with the key out of the environment where there is one."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors like to put a BOM first
    except FileNotFoundError:
        raise ConfigError(
            f"There is no config at {path}",
            "Run hydindex init, which makes one, or name yours with --config.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The config {path} cannot be read: {error}", "Mend the file or its permissions."
        ) from None
    values = _parse_json(text, path)
    if key := os.environ.get(API_KEY_VARIABLE):
        values["api_key"] = key
    return values


def _parse_json(text: str, path: Path) -> dict[str, Any]:
    def refuse_repeated_keys(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = dict(items)
        if len(seen) < len(items):
            names = [name for name, _ in items]
            repeated = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f'The config {path} sets "{repeated}" twice', "Keep one of the two.")
        return seen

    try:
        values = json.loads(text, object_pairs_hook=refuse_repeated_keys)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"The config {path} is not valid JSON: {error.msg} "
            f"at line {error.lineno}, column {error.colno}",
            "Mend that place: a missing comma or quote is the usual cause.",
        ) from None
    except (RecursionError, ValueError) as error:  # nested too deep, or a number too long
        raise ConfigError(f"The config {path} cannot be read: {error}", "Mend it.") from None
    if not isinstance(values, dict):
        raise ConfigError(
            f"The config {path} holds no JSON object", "It must begin with { and end with }."
        )
    return values
