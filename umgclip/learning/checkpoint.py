"""Checkpoints that identify their run: with other params, data, base or code they are refused, with the difference."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.io.atomic import atomic_file
from umgclip.learning.sharded import like, on_cpu, whole
from umgclip.learning.world import World
from umgclip.model.clip.pretrained.checkpoint_file import TORCH_ERRORS

_log = logging.getLogger(__name__)
_SHOWN = 8
_ALONE = World()
_SHA256 = "sha256"  # of all else in a checkpoint


@dataclass
class TrainingState:
    """The state that an interrupted training resumes from.

    Attributes:
        weights: what learns, by name.
        optimizer: over them.
        average: their moving average, by name; None without.
        scaler: of float16's losses; None without.
        failed: keys of unreadable samples, each with its shard and the reason.
        seen: counts of texts, images and regions seen so far.
        beside: other tensors by name, such as a teacher's moving average; a checkpoint is copied into them.
    """

    weights: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor] | None = None
    scaler: torch.amp.GradScaler | None = None
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    beside: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoints:
    """A checkpoint file, replaced during training, written and read by the first process.

    `belongs_to` identifies what decides the result: texts or mappings of texts by name. `stage` is the command that
    resumes from it.
    """

    path: Path
    belongs_to: dict[str, Any]
    world: World = _ALONE
    stage: str = "train"

    def save(self, step: int, state: TrainingState) -> None:
        """Write the state after `step` steps, whole or not at all; all processes take part."""
        slots = {name: on_cpu_slots(state.optimizer.state[p]) for name, p in state.weights.items()}
        content = {
            "belongs_to": json.dumps(self.belongs_to, sort_keys=True),
            "step": step,
            "weights": on_cpu(state.weights),
            "average": None if state.average is None else on_cpu(state.average),
            "optimizer": slots,
            "beside": on_cpu(state.beside),
            "scaler": None if state.scaler is None else state.scaler.state_dict(),
            "failed": json.dumps(state.failed),
            "seen": json.dumps(state.seen),
        }
        if self.world.first:
            # only Python's writer recognises a full disk: torch's own reports "unexpected pos"
            with atomic_file(self.path) as temporary, temporary.open("wb") as file:
                torch.save({**content, _SHA256: content_sha256(content)}, file)

    def restore(self, state: TrainingState) -> int:
        """Restore the saved state on all processes; return the steps done, 0 if there is no checkpoint.

        Raises:
            InputError: the checkpoint belongs to another run; the message names what differs and what to do.
        """
        saved = self.world.from_first(self._read() if self.world.first else None)
        if saved is None:
            return 0
        if isinstance(saved, str):
            raise InputError(saved)
        with torch.no_grad():
            for name, parameter in state.weights.items():
                parameter.copy_(like(saved["weights"][name], parameter))
                state.optimizer.state[parameter] = {
                    slot: like(value, parameter) for slot, value in saved["optimizer"][name].items()
                }
            for name, value in (state.average or {}).items():
                value.copy_(like(saved["average"][name], value))
            for name, value in state.beside.items():
                value.copy_(like(saved["beside"][name], value))
        if state.scaler is not None and saved["scaler"] is not None:
            state.scaler.load_state_dict(saved["scaler"])
        state.failed.update({key: tuple(reason) for key, reason in json.loads(saved["failed"]).items()})
        state.seen.update(json.loads(saved["seen"]))
        if self.world.first:
            _log.warning("%s: resumes after step %d of %s", self.stage, saved["step"], self.path)
        return int(saved["step"])

    def _read(self) -> dict[str, Any] | str | None:
        """Return the state, a message why it may not be used, or None if there is none."""
        if not self.path.is_file():
            return None
        try:
            saved: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            sha256 = saved.pop(_SHA256, None)  # checkpoints of earlier versions have none, and belong to other code
            if sha256 is not None and sha256 != content_sha256(saved):
                raise ValueError(f"its content does not match its sha256 {str(sha256)[:12]}: damaged")
            belongs_to = json.loads(saved["belongs_to"])
            differing = list(differences(belongs_to, self.belongs_to))
            if sha256 is None and not differing:
                raise ValueError("it has no sha256: damaged")
        except TORCH_ERRORS as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            return f"{self.path}: expected a checkpoint, got a file that cannot be read ({reason}); {self._way_on()}"
        if not differing:
            return saved
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        return (
            f"{self.path}: the checkpoint belongs to other {', '.join(differing[:_SHOWN])}{more}; "
            f"restore those and training resumes after step {saved['step']}, or {self._way_on()}"
        )

    def _way_on(self) -> str:
        command = f"umgclip {self.stage} --discard-checkpoint"
        return f"discard it with `{command}` (for DVC: UMGCLIP_DISCARD_CHECKPOINT=1 dvc repro)"

    def remove(self) -> None:
        """Delete the checkpoint, because training is complete or is to begin again."""
        self.path.unlink(missing_ok=True)


def content_sha256(content: Any) -> str:  # noqa: ANN401 - what torch.load gives with weights_only
    """Hex SHA-256 over names, kinds and bytes of tensors and plain values in mappings and lists."""
    digest = hashlib.sha256()
    _add(digest.update, content)
    return digest.hexdigest()


def _add(update: Callable[[bytes | memoryview], None], value: Any) -> None:  # noqa: ANN401
    if isinstance(value, Mapping):
        update(f"{{{len(value)}".encode())
        for name, inner in value.items():
            _add(update, name)
            _add(update, inner)
    elif isinstance(value, list | tuple):
        update(f"[{len(value)}".encode())
        for inner in value:
            _add(update, inner)
    elif isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        update(f"tensor {plain.dtype} {tuple(plain.shape)} ".encode())
        update(plain.reshape(-1).view(torch.uint8).numpy().data)
    else:
        update(f"{type(value).__name__} {value!r} ".encode())


def on_cpu_slots(slots: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimizer's state of a parameter as whole tensors on the CPU."""
    return {name: whole(value).cpu() if isinstance(value, Tensor) else value for name, value in slots.items()}


def differences(saved: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield what differs by dotted name, with both values if they are short: `params.seed (0, now 1)`."""
    for name in sorted({*saved, *now}):
        before, after = saved.get(name), now.get(name)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from differences(before, after, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name} ({_short(before)}, now {_short(after)})"


def _short(value: Any) -> str:  # noqa: ANN401 - any JSON value
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
