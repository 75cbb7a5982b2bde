"""Which values a sweep tries: every combination, or a seeded sample."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from flows.dvc.overrides import locate
from umgclip.errors import ParamsError

MOST = 1000


class Range(BaseModel):
    """All numbers from `low` to `high`; whole ones where both are whole; `log`: evenly over the orders of magnitude."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            expected = "0 < low < high" if self.log else "low < high"
            raise ValueError(f"expected {expected}, got low {self.low}, high {self.high}")
        return self

    def draw(self, source: random.Random) -> int | float:
        """One value."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        if isinstance(self.low, int) and isinstance(self.high, int):
            if not self.log:
                return source.randint(self.low, self.high)
            return min(max(round(math.exp(source.uniform(low, high))), self.low), self.high)
        value = source.uniform(low, high)
        return float(f"{math.exp(value) if self.log else value:.6g}")


Space = Mapping[str, Sequence[Any] | Range]


def read_space(given: Mapping[str, Any]) -> dict[str, list[Any] | Range]:
    """What a command line or a form holds: lists stay, mappings are ranges, a single value is a list of one.

    Raises:
        ParamsError: a mapping is no range; names the key.
    """
    space: dict[str, list[Any] | Range] = {}
    for key, values in given.items():
        if not isinstance(values, Mapping):
            space[key] = values if isinstance(values, list) else [values]
            continue
        try:
            space[key] = Range.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join([key, *map(str, first["loc"])])
            raise ParamsError(f"space: {where}: {first['msg']}, got {first['input']!r}") from error
    return space


def grid(space: Space) -> list[dict[str, Any]]:
    """Every combination, the last key changing fastest.

    Raises:
        ParamsError: no key, no value, a range, or more than 1000 combinations.
    """
    choices = {key: _listed(key, values) for key, values in _checked(space).items()}
    count = math.prod(map(len, choices.values()))
    if count > MOST:
        raise ParamsError(f"space: expected at most {MOST} combinations, got {count}; give a number of trials")
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def sample(space: Space, trials: int, seed: int) -> list[dict[str, Any]]:
    """Trials at random, no two alike as far as the space allows.

    Raises:
        ParamsError: no key, no value, or a number of trials out of range.
    """
    if not 0 < trials <= MOST:
        raise ParamsError(f"trials: expected 1 to {MOST}, got {trials}")
    checked, source = _checked(space), random.Random(seed)  # noqa: S311 - no secret
    found: dict[str, dict[str, Any]] = {}
    for _ in range(20 * trials):
        drawn = {k: v.draw(source) if isinstance(v, Range) else source.choice(list(v)) for k, v in checked.items()}
        found.setdefault(json.dumps(drawn, sort_keys=True), drawn)
        if len(found) == trials:
            break
    return list(found.values())


def assignment(key: str, value: Any) -> str:  # noqa: ANN401 - a scalar
    """A value as `dvc exp run --set-param` takes it.

    Raises:
        ParamsError: it is no number, text, truth value or null, or its key has dots of its own.
    """
    if "." in locate(key)[-1] or not isinstance(value, int | float | str | bool | None):
        raise ParamsError(f"space: {key}: expected a number, a text, true, false or null for one value, got {value!r}")
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"{key}='{quoted}'"
    return f"{key}={json.dumps(value)}"


def _checked(space: Space) -> Space:
    if not space:
        raise ParamsError("space: expected at least one key, such as train.lora.rank, got none")
    for key, values in space.items():
        locate(key)
        if not isinstance(values, Range) and not values:
            raise ParamsError(f"space: {key}: expected at least one value, got none")
    return space


def _listed(key: str, values: Sequence[Any] | Range) -> list[Any]:
    if isinstance(values, Range):
        raise ParamsError(f"space: {key}: expected a list of values for a grid, got a range; give a number of trials")
    return list(values)
