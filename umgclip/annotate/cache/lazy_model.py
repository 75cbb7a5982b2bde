"""A model that is loaded when the first answer that is not stored is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class NotAnsweredError(Exception):
    """An error: a role's answers are not stored, and this worker may not load the model that gives them."""

    def __init__(self, role: str, model: str) -> None:
        super().__init__(f"{role}: answers of {model} are not stored")
        self.role, self.model = role, model

    def __reduce__(self) -> tuple[type[NotAnsweredError], tuple[str, str]]:
        return NotAnsweredError, (self.role, self.model)


class LazyModel:
    """A built-in model or an entry of `annotate.models`, loaded when it is first needed."""

    def __init__(self, name: str, kind: str, build: Callable[[], Any], allowed: bool = True) -> None:
        """Describe the model without loading it.

        Args:
            name: its name in the params.
            kind: its kind in the params; a built-in's name is its kind.
            build: loads the model.
            allowed: whether this worker may load it.
        """
        self.name, self.kind = name, kind
        self._build, self._allowed = build, allowed
        self._loaded: Any = None

    def load(self, role: str) -> Any:  # noqa: ANN401 - fills any role
        """Return the model, loading it at the first call.

        Raises:
            NotAnsweredError: this worker may not load it.
            InputError: its weights are not on this machine.
        """
        if self._loaded is None:
            if not self._allowed:
                raise NotAnsweredError(role, self.name)
            self._loaded = self._build()
        return self._loaded

    @property
    def is_loaded(self) -> bool:
        """True if the model was needed so far."""
        return self._loaded is not None
