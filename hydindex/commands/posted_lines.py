"""The record of posted pairs as JSON lines."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hydindex.common.errors import ConfigError
from hydindex.records.pair_states import PairState
from hydindex.records.pairs import PostedPair

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Line(BaseModel):
    """One pair, with the keys of `PostedPair`."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    sha256_a: Sha256
    sha256_b: Sha256
    state: Literal["sending", "known", "posted"]
    score: float
    state_at: str


def to_lines(pairs: Iterable[PostedPair]) -> Iterator[str]:
    """Convert each pair to a line of JSON."""
    for each in pairs:
        yield _Line(**asdict(each)).model_dump_json()


def from_lines(lines: Iterable[str]) -> list[PostedPair]:
    """Parse lines from `to_lines`; skip empty ones.

    Raises:
        ConfigError: a line is not a posted pair.
    """
    return [_parse(line, number) for number, line in enumerate(lines, start=1) if line.strip()]


def _parse(text: str, number: int) -> PostedPair:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _wrong(number, f"{place} {first['msg']}".strip()) from None
    if line.sha256_a == line.sha256_b:
        raise _wrong(number, "both files are the same")
    return PostedPair(
        line.sha256_a, line.sha256_b, PairState(line.state), line.score, line.state_at
    )


def _wrong(number: int, what: str) -> ConfigError:
    return ConfigError(
        f"Line {number} is not a posted pair: {what}",
        "Use a file written by hydindex export-posted. Nothing was imported.",
    )
