"""The record of posted pairs as JSON lines."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

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

    @model_validator(mode="after")
    def _refuse_one_file(self) -> Self:
        if self.sha256_a == self.sha256_b:
            raise ValueError("both files are the same")
        return self


def to_lines(pairs: Iterable[PostedPair]) -> Iterator[str]:
    """Convert each pair to a line of JSON."""
    for each in pairs:
        yield _Line(**asdict(each)).model_dump_json()


def from_lines(lines: Iterable[str]) -> list[PostedPair]:
    """Parse lines from `to_lines`; skip empty ones.

    Raises:
        ConfigError: a line is not a posted pair.
    """
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = _Line.model_validate_json(line).model_dump()
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"])
            text = f"{key} {problem['msg']}".strip()
            raise ConfigError(
                f"Line {number} is not a posted pair: {text}",
                "Use a file written by hydindex export-posted. Nothing was imported.",
            ) from None
        pairs.append(PostedPair(**{**values, "state": PairState(values["state"])}))
    return pairs
