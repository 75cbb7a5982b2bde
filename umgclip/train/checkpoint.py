"""Checkpoints that know what they belong to: another base, other params, data or code start afresh, and say so."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from umgclip.io.atomic import atomic_file

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoints:
    """One file, replaced as training goes on. `belongs_to` names what decides the result, part by part."""

    path: Path
    belongs_to: dict[str, str]

    def save(self, step: int, trainable: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        """Write the state after `step` steps, whole or not at all."""
        state = {
            "belongs_to": json.dumps(self.belongs_to, sort_keys=True),
            "step": step,
            "weights": {name: p.detach().cpu() for name, p in trainable.items()},
            "optimizer": optimizer.state_dict(),
        }
        with atomic_file(self.path) as temporary:
            torch.save(state, temporary)

    def restore(self, trainable: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> int:
        """Put the saved state back; gives the steps that are done, 0 when there is nothing to go on from."""
        state = self._read()
        if state is None:
            return 0
        with torch.no_grad():
            for name, parameter in trainable.items():
                parameter.copy_(state["weights"][name])
        optimizer.load_state_dict(state["optimizer"])
        _log.warning("train: goes on after step %d of %s", state["step"], self.path)
        return int(state["step"])

    def _read(self) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        saved = json.loads(state["belongs_to"])
        if saved != self.belongs_to:
            changed = sorted(k for k in {*saved, *self.belongs_to} if saved.get(k) != self.belongs_to.get(k))
            _log.warning("train: starts afresh, the checkpoint belongs to other %s", ", ".join(changed))
            return None
        return state

    def remove(self) -> None:
        """Training is complete and written elsewhere."""
        self.path.unlink(missing_ok=True)
