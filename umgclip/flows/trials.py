"""Choose the parameter values of a sweep: every combination, or a seeded random sample."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from umgclip.errors import ParamsError
from umgclip.flows.dvc.overrides import locate

MOST = 1000


class Range(BaseModel):
    """The numbers from `low` to `high`, integers if both are integers; `log` samples evenly on a log scale."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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
        """Return a random value of the range."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        if isinstance(self.low, int) and isinstance(self.high, int):
            if not self.log:
                return source.randint(self.low, self.high)
            return min(max(round(math.exp(source.uniform(low, high))), self.low), self.high)
        value = source.uniform(low, high)
        return float(f"{math.exp(value) if self.log else value:.6g}")


Space = Mapping[str, Sequence[Any] | Range]


def read_space(given: Mapping[str, Any]) -> dict[str, list[Any] | Range]:
    """Read a search space from a command line or form: lists stay, mappings become ranges, a value becomes a list.

    Raises:
        ParamsError: a mapping is not a valid range; names the key.
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
    """Return every combination of values; the last key changes fastest.

    Raises:
        ParamsError: there is no key or no value, a value is a range, or there are more than 1000 combinations.
    """
    choices = {key: _listed(key, values) for key, values in _checked(space).items()}
    count = math.prod(map(len, choices.values()))
    if count > MOST:
        raise ParamsError(f"space: expected at most {MOST} combinations, got {count}; give a number of trials")
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def sample(space: Space, trials: int, seed: int) -> list[dict[str, Any]]:
    """Return random trials, all different if the space is large enough.

    Raises:
        ParamsError: there is no key or no value, or the number of trials is out of range.
    """
    if not 0 < trials <= MOST:
        raise ParamsError(f"trials: expected 1 to {MOST}, got {trials}")
    checked, source = _checked(space), random.Random(seed)  # noqa: S311 - not a secret
    chosen: dict[str, dict[str, Any]] = {}
    for _ in range(20 * trials):
        drawn = {k: v.draw(source) if isinstance(v, Range) else source.choice(list(v)) for k, v in checked.items()}
        chosen.setdefault(json.dumps(drawn, sort_keys=True), drawn)
        if len(chosen) == trials:
            break
    return list(chosen.values())


def assignment(key: str, value: Any) -> str:  # noqa: ANN401 - a scalar
    """Return the argument of `dvc exp run --set-param` that sets a value.

    Raises:
        ParamsError: the value is not a number, string, Boolean or null, or its key contains dots.
    """
    if "." in locate(key)[-1] or not isinstance(value, int | float | str | bool | None):
        raise ParamsError(f"space: {key}: expected a number, a string, true, false or null, got {value!r}")
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
