"""Weights from a local folder or from the cache of the hub, which a command fills before; never from the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError

from umgclip.annotate.cache.file_digests import weights_digest
from umgclip.annotate.models.source_name import source_name
from umgclip.errors import InputError
from umgclip.model.clip.no_code import no_remote_code
from umgclip.model.clip.placement import placement
from umgclip.params.annotators import WeightsParams

# the last two: a configuration file that holds a list or null instead of an object
_UNREADABLE = (
    OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError, AttributeError, TypeError,
)  # fmt: skip
_WORDS = ("cat", "dog", "tree")


@dataclass(frozen=True)
class LoadedModel:
    """A model in eval mode on its device, with its processor and its name as a source in records."""

    model: Any
    processor: Any
    device: torch.device
    dtype: torch.dtype
    name: str

    def on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Move tensors to the device of the model.

        Only pixels are converted to its precision, because coordinates would lose theirs.
        """
        moved = {}
        for key, value in inputs.items():
            if isinstance(value, torch.Tensor):
                value = value.to(self.device, self.dtype if key == "pixel_values" else None)
            moved[key] = value
        return moved


def load(params: WeightsParams, where: str, model_class: str, processor_class: str) -> LoadedModel:
    """Load a model and its processor.

    Args:
        params: with `id` and `revision`, or `path`.
        where: name of the model in the params, for messages.
        model_class: name of a class of transformers.
        processor_class: name of a class of transformers.

    Raises:
        InputError: the weights are not on this machine (the message says what to run) or do not fit the class, the
            tokenizer is not complete, or the device does not exist.
    """
    folder, revision = _folder(params, where)
    field = weights_field(params, where)
    device, dtype = placement(params, where)
    kind = str(getattr(params, "kind", "model"))
    transformers.utils.logging.disable_progress_bar()  # it would overwrite the progress of the run
    plain = {"local_files_only": True, "trust_remote_code": False}
    try:
        with no_remote_code(f"{where}: {params.id or params.path}"):
            config = transformers.AutoConfig.from_pretrained(folder, **plain)
            wanted = getattr(transformers, model_class)
            expected = getattr(wanted, "config_class", None)
            # SAM 3 is published as a part of its video model
            fits = isinstance(expected, type) and isinstance(getattr(config, "detector_config", None), expected)
            if isinstance(expected, type) and not fits and not isinstance(config, expected):
                raise InputError(f"{field}: expected weights of {kind} ({expected.__name__}), got {config.model_type}")
            model, report = wanted.from_pretrained(
                folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **plain
            )
            if report["missing_keys"]:
                missing = sorted(report["missing_keys"])
                raise InputError(
                    f"{field}: expected all weights of {model_class}, got {folder} without {len(missing)} of them "
                    f"({missing[0]} is one)"
                )
            processor = getattr(transformers, processor_class).from_pretrained(folder, **plain)
            _check_tokenizer(processor, f"{field}: expected a complete tokenizer (tokenizer.json), got {folder}")
    except _UNREADABLE as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"{field}: expected {model_class} and {processor_class} of transformers, got {params.id or params.path}, "
            f"which cannot be loaded as {kind}: {first}"
        ) from error
    name = source_name(kind, params.id or Path(str(params.path)).name, revision)
    return LoadedModel(model.eval().to(device), processor, device, dtype, name)


def _check_tokenizer(processor: Any, message: str) -> None:  # noqa: ANN401 - any processor of transformers
    """Check that words have ids of their own: without its file, transformers makes a tokenizer that knows none.

    Raises:
        InputError: different words have the same ids; begins with the message.
    """
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None:
        return
    ids = [tuple(tokenizer(word)["input_ids"]) for word in _WORDS]
    if len(set(ids)) < len(ids):
        raise InputError(f"{message}, whose tokenizer reads {' and '.join(_WORDS)} as {list(ids[0])}")


def weights_field(params: WeightsParams, where: str) -> str:
    """Name the parameter that says which weights, for messages: `WHERE.path` or `WHERE.id`."""
    return f"{where}.{'id' if params.path is None else 'path'}"


def _folder(params: WeightsParams, where: str) -> tuple[Path, str]:
    """Return the folder of the weights and their revision."""
    if params.path is not None:
        folder = Path(params.path)
        return folder, weights_digest(folder, where)
    assert params.id is not None  # noqa: S101 - for the type checker: the params are validated
    assert params.revision is not None  # noqa: S101
    try:
        snapshot = snapshot_download(params.id, revision=params.revision, local_files_only=True)
    except (LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"{where}.id: weights of {params.id} at {params.revision} are not on this machine "
            f"(looked in {constants.HF_HUB_CACHE}); run: hf download {params.id} --revision {params.revision}"
        ) from error
    return Path(snapshot), params.revision
