"""Counts that add up: what one step counted plus what the next one did."""

from dataclasses import fields
from typing import Any, Self


class Counts:
    """Base of dataclasses whose fields are numbers, dictionaries of numbers, or Counts."""

    def __add__(self, other: Self) -> Self:
        return type(self)(
            **{
                field.name: _sum(getattr(self, field.name), getattr(other, field.name))
                for field in fields(self)  # type: ignore[arg-type]
            }
        )


def _sum(a: Any, b: Any) -> Any:
    if isinstance(a, dict):
        return {key: a.get(key, 0) + b.get(key, 0) for key in a | b}
    return a + b
