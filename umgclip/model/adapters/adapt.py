"""Adapters of a tuned model, and loading them from files: LoRA, Convpass, or all weights.

LoRA goes through peft (Hu et al., ICLR 2022), always as its plain layer around a linear one: open_clip's own blocks get
an attention that calls its two projections first (`umgclip.model.clip.attention`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from safetensors import SafetensorError
from torch import nn

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import open_to_others, sha256_file, write_json
from umgclip.io.json_file import read_object
from umgclip.io.weights import read_weights, write_weights
from umgclip.model.adapters.convpass import add_convpass
from umgclip.model.adapters.lora_files import merged, write_made_by
from umgclip.model.clip import files
from umgclip.model.clip.attention import with_linear_attention
from umgclip.model.clip.blocks import residual_blocks
from umgclip.model.clip.clustered import read_clustering, set_clustering
from umgclip.model.clip.integrity import SHA256, adapter_sha256, base_sha256, require_finite
from umgclip.model.clip.layout import ADAPTER_CONFIG, ADAPTER_WEIGHTS, TRAIN_REPORT, USAGE
from umgclip.model.clip.native_side import set_native_side
from umgclip.model.clip.text import text_parameters
from umgclip.model.clip.vision.reach import set_reach
from umgclip.params import ConvpassParams, LoraParams, TrainParams

if TYPE_CHECKING:
    from peft import PeftModel
else:  # takes seconds to import, and a merged model does without
    PeftModel = Any

_TEXT = r"transformer\.resblocks\.\d+\.(attn\.in_proj|attn\.out_proj|mlp\.c_fc|mlp\.c_proj)"
_IMAGE = r"visual\." + _TEXT
_BOTH = r"(visual\.)?" + _TEXT
_CUSTOM_TEXT = r"text\." + _TEXT
_TIMM_VIT = r"visual\.trunk\.blocks\.\d+\.(attn\.(qkv|q_proj|k_proj|v_proj|proj)|mlp\.(fc1|fc1_g|fc1_x|fc2))"
_TIMM_CONVNEXT = r"visual\.trunk\.stages\.\d+\.blocks\.\d+\.mlp\.(fc1|fc2)"
_KIND = "umgclip_adapter"  # in the config; peft's own has no such key


@dataclass(frozen=True)
class Adapted:
    """A model with something to learn.

    Attributes:
        kind: `lora`, `convpass` or `full`.
        clip: the open_clip model that holds what learns; wrap it in `DenseClip`.
        config: what its folder says about it.
        peft: peft's wrapper, for `lora`.
    """

    kind: str
    clip: nn.Module
    config: dict[str, Any]
    peft: PeftModel | None = None

    def counts(self) -> tuple[int, int]:
        """Numbers that learn, and all numbers."""
        sizes = [(p.numel(), p.requires_grad) for p in self.clip.parameters()]
        return sum(size for size, learns in sizes if learns), sum(size for size, _ in sizes)

    def modules(self) -> list[str]:
        """Names of the modules that hold something to learn; for `lora` those that got deltas."""
        if self.peft is None:
            return sorted({name.rpartition(".")[0] for name, p in self.clip.named_parameters() if p.requires_grad})
        return sorted(name for name, module in self.clip.named_modules() if hasattr(module, "lora_A"))

    def save(self, folder: Path) -> str:
        """Write the learned weights into a new folder, and return their SHA-256."""
        if self.peft is not None:
            self.peft.save_pretrained(str(folder))
            (folder / "README.md").unlink(missing_ok=True)  # peft's empty template
            open_to_others(folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            state = self.clip.state_dict(keep_vars=True)
            write_weights(folder / ADAPTER_WEIGHTS, {n: p for n, p in state.items() if p.requires_grad})
            write_json(folder / ADAPTER_CONFIG, {_KIND: self.kind, **self.config})
        write_made_by(folder, self.kind, self.modules())
        return sha256_file(folder / ADAPTER_WEIGHTS)


def adapt(clip: nn.Module, params: TrainParams) -> Adapted:
    """Make a CLIP ready to be tuned, in place, as `train.adapter` says; `auto` is lora here.

    Raises:
        InputError: this kind of adapter is not for this model; names what is.
    """
    if params.adapter in ("auto", "lora"):
        tuned = add_lora(clip, params.lora)
        return Adapted("lora", tuned.get_base_model(), {}, tuned)
    if params.adapter == "convpass":
        add_convpass(clip, params.convpass)
        return Adapted("convpass", clip, params.convpass.model_dump())
    if params.full.blocks is not None:
        _last_blocks_learn(clip, params.full.blocks, text_tower=params.full.text_tower)
    elif not params.full.text_tower:
        _freeze(text_parameters(clip))
    return Adapted("full", clip, params.full.model_dump())


def _freeze(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad_(False)


def _last_blocks_learn(clip: nn.Module, number: int, *, text_tower: bool) -> None:
    """Let the last residual blocks of the image tower learn, and the text tower if asked; freeze all else.

    Raises:
        InputError: the image tower has fewer blocks.
    """
    blocks = list(residual_blocks(clip, images_only=True))
    if len(blocks) < number:
        raise InputError(f"train.full.blocks: expected at most the image tower's {len(blocks)} blocks, got {number}")
    learning = {id(p) for p in text_parameters(clip)} if text_tower else set()
    learning |= {id(p) for block in blocks[-number:] for p in block.parameters()}
    _freeze(parameter for parameter in clip.parameters() if id(parameter) not in learning)


def add_lora(clip: nn.Module, lora: LoraParams) -> PeftModel:
    """Freeze a CLIP and give its blocks trainable low-rank deltas, in place.

    Raises:
        InputError: layers that peft does not know.
    """
    from peft import LoraConfig, get_peft_model

    from umgclip.model.adapters.lora_linear import LoraLinear

    targets = _targets(clip, text_tower=lora.text_tower)
    with_linear_attention(clip)
    _call_fused_layers(clip)
    _require_whole_blocks(clip, targets)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    config._register_custom_module({nn.Linear: LoraLinear})  # peft's documented way, not part of what is saved
    try:
        return get_peft_model(clip, config)
    except (ValueError, TypeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"train.adapter: expected convpass or full, peft cannot adapt this model: {reason}") from error


def _targets(clip: Any, *, text_tower: bool) -> str:  # noqa: ANN401 - open_clip's models share no base class
    """Return a pattern of the layers that get deltas."""
    trunk = getattr(clip.visual, "trunk", None)
    if trunk is None and not hasattr(clip, "text"):
        return _BOTH if text_tower else _IMAGE
    image = _IMAGE if trunk is None else _TIMM_VIT if hasattr(trunk, "blocks") else _TIMM_CONVNEXT
    if not text_tower:
        return image
    if hasattr(clip, "text") and not hasattr(getattr(clip.text, "transformer", None), "resblocks"):
        raise InputError("train.lora.text_tower: expected false, the model's text tower is not open_clip's; got true")
    return f"{image}|{_CUSTOM_TEXT if hasattr(clip, 'text') else _TEXT}"


def _require_whole_blocks(clip: nn.Module, targets: str) -> None:
    """Refuse blocks whose attention would stay as it is while the rest of them learns."""
    names = dict(clip.named_modules())
    for name in names:
        if name.endswith("attn.out_proj") and re.fullmatch(targets, name) and f"{name[:-8]}in_proj" not in names:
            attention = type(names[name.rpartition(".")[0]]).__name__
            raise InputError(
                f"train.adapter: expected convpass or full, {attention} ({name.rpartition('.')[0]}) has no linear "
                "in-projection for lora; got lora"
            )


def _call_fused_layers(clip: Any) -> None:  # noqa: ANN401
    """Make EVA's attention call its fused layer, where it would otherwise use the layer's weight past any adapter."""
    for module in clip.visual.modules():
        if getattr(module, "qkv", None) is not None and hasattr(module, "qkv_bias_separate"):
            module.qkv_bias_separate = True


def load_tuned(base: Path, adapter: Path) -> nn.Module:
    """Load the tuned model in eval mode: plain open_clip, with branches beside its blocks for Convpass.

    Its own side is the one that it was tuned at last; its dense tokens look as far, and are clustered, as in training.

    Args:
        base: folder written by the stage `base`.
        adapter: folder with `adapter_config.json` and `adapter_model.safetensors`, peft's or ours, beside a
            `train.json` that names the base, when there is one.

    Raises:
        DataError: files are missing or do not fit, the adapter was trained on another base, or weights are not those
            that were written, or no numbers.
    """
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (adapter / name).is_file():
            raise DataError(f"{adapter}: expected {name}, found none; `umgclip train` writes it")
    _require_own_weights(base, adapter)
    clip = _merged(files.load_unchecked(base)[0], adapter).eval()
    require_finite(clip, adapter / ADAPTER_WEIGHTS)
    _set_up_as_trained(clip, adapter)
    return clip


def _set_up_as_trained(clip: nn.Module, adapter: Path) -> None:
    """Give the model the side, reach and clusters that an export, or the training beside the adapter, wrote down."""
    exported, report = adapter / USAGE, adapter.parent / TRAIN_REPORT
    path, key = (exported, "image_size_hw") if exported.is_file() else (report, "image_hw")
    if not path.is_file():
        return
    facts = read_object(path)
    set_reach(clip, files.read_reach(facts, path))
    set_clustering(clip, read_clustering(facts, path))
    if (size := facts.get(key)) is None:
        return
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise DataError(f"{path}: {key}: expected height and width in pixels, got {size!r}")
    try:
        set_native_side(clip, (size[0], size[1]))
    except InputError as error:
        raise DataError(f"{path}: {key}: {error}") from error


def _require_own_weights(base: Path, adapter: Path) -> None:
    """Compare base and adapter with what was written down about them."""
    weights, report = adapter / ADAPTER_WEIGHTS, adapter.parent / TRAIN_REPORT
    actual = base_sha256(base) if (base / files.WEIGHTS).is_file() else None
    exported = (adapter / USAGE).is_file()
    if report.is_file():
        wanted = str(read_object(report).get("base_sha256"))
        if actual is not None and wanted != actual:
            raise DataError(f"{adapter}: trained on base weights {wanted[:12]}, got {actual[:12]} in {base}")
    if exported:
        adapter_sha256(weights, USAGE, SHA256)
    elif report.is_file():
        adapter_sha256(weights, f"../{TRAIN_REPORT}", "adapter_sha256")


def _merged(clip: nn.Module, adapter: Path) -> nn.Module:
    config = read_object(adapter / ADAPTER_CONFIG)
    kind = str(config.pop(_KIND, "lora"))
    if kind == "lora":
        _call_fused_layers(clip)
        return merged(clip, adapter)
    if kind == "convpass":
        add_convpass(clip, _convpass(config, adapter / ADAPTER_CONFIG))
    elif kind != "full":
        raise DataError(f"{adapter / ADAPTER_CONFIG}: {_KIND}: expected lora, convpass or full, got {kind!r}")
    _load_learned(clip, adapter / ADAPTER_WEIGHTS, whole_branches=kind == "convpass")
    return clip


def _convpass(config: dict[str, Any], path: Path) -> ConvpassParams:
    try:
        return ConvpassParams.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def adapter_kind(adapter: Path) -> str:
    """Return the adapter's kind: `lora`, `convpass` or `full`.

    Raises:
        DataError: no adapter there.
    """
    path = adapter / ADAPTER_CONFIG
    if not path.is_file():
        raise DataError(f"{adapter}: expected {ADAPTER_CONFIG}, found none; `umgclip train` writes it")
    return str(read_object(path).get(_KIND, "lora"))


def _load_learned(clip: nn.Module, path: Path, *, whole_branches: bool) -> None:
    try:
        learned = read_weights(path)
    except SafetensorError as error:
        raise DataError(f"{path}: not readable: {str(error).splitlines()[0]}") from error
    try:
        result = clip.load_state_dict(learned, strict=False)
    except RuntimeError as error:
        raise DataError(f"{path}: does not fit the base: {str(error).splitlines()[-1].strip()}") from error
    missing = [name for name in result.missing_keys if whole_branches and ".convpass." in name]
    if result.unexpected_keys or missing:
        name = (list(result.unexpected_keys) + missing)[0]
        raise DataError(f"{path}: expected the weights of {path.parent}'s config, got other names ({name})")
