"""The files by which transformers makes images and texts ready: image processor, tokenizer, and both as a processor.

Texts. transformers tokenises without open_clip's cleaning. SigLIP's (lower case, no punctuation) is written into the
tokenizer's own normaliser. CLIP's tokenizer of transformers does the same as open_clip's but for `ftfy` and HTML
entities: curly quotes, ligatures and broken encodings stay as they are there.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from typing import Any

from umgclip.inference.export.transformers_names import Kind, Unsuited, side_of
from umgclip.model.clip.light_open_clip import open_clip
from umgclip.model.clip.preprocess import Preprocess
from umgclip.model.clip.tower import DenseClip

_PROCESSORS = {
    "clip": ("CLIPProcessor", "CLIPImageProcessor"),
    "siglip": ("SiglipProcessor", "SiglipImageProcessor"),
    "siglip2": ("Siglip2Processor", "Siglip2ImageProcessor"),
}
_FILTERS = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers
_START, _END = "<|startoftext|>", "<|endoftext|>"
_OPTIONS = {"clean"}  # of a tokenizer; others change its tokens in ways that transformers has no word for


def processor_of(tower: DenseClip, preprocess: Preprocess, kind: Kind) -> Any:  # noqa: ANN401 - one of transformers'
    """Return the processor of a model, with image processor and tokenizer.

    Args:
        tower: the model.
        preprocess: how its images are made ready.
        kind: the class that it becomes.

    Raises:
        Unsuited: texts are made ready in a way that transformers has no word for.
        InputError: the files of the tokenizer are not beside the model.
    """
    import transformers

    whole, images = (getattr(transformers, name) for name in _PROCESSORS[kind])
    return whole(image_processor=images(**image_settings(tower, preprocess, kind)), tokenizer=tokenizer_of(tower, kind))


def image_settings(tower: DenseClip, preprocess: Preprocess, kind: Kind) -> dict[str, Any]:
    """Return the arguments of an image processor.

    `squash` and, but for a pixel, `shortest` are there by other names. The nearest to `pad` and `longest` keeps the
    aspect and fills the canvas right and below with the mean colour, which the model sees.
    """
    settings: dict[str, Any] = {
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": _FILTERS[preprocess.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }
    if kind == "siglip2":
        grid = tower.clip.visual.trunk.embeds.pos_embed.shape
        return settings | {"patch_size": tower.patch_px[0], "max_num_patches": int(grid[1] * grid[2])}
    side = side_of(tower)[0]
    square = {"height": side, "width": side}
    if preprocess.fit == "shortest":
        return settings | {"size": {"shortest_edge": side}, "do_center_crop": True, "crop_size": square}
    settings |= {"do_center_crop": False, "crop_size": square}
    if preprocess.fit == "squash":
        return settings | {"size": square}
    return settings | {"size": {"max_height": side, "max_width": side}, "do_pad": True, "pad_size": square}


def tokenizer_of(tower: DenseClip, kind: Kind) -> Any:  # noqa: ANN401 - one of transformers'
    """Return the tokenizer of a model, which gives the tokens that the model was trained with.

    Raises:
        Unsuited: it has an option that transformers has no word for.
        InputError: its files are not beside the model.
    """
    text_cfg: Mapping[str, Any] = (getattr(tower.clip, "umgclip_config", None) or {}).get("text_cfg", {})
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    if others := sorted(set(options) - _OPTIONS):
        raise Unsuited(f"its tokenizer has the option {others[0]}")
    given = tower.tokenizer.hugging_face
    if given is None:
        if options.get("clean", "lower") != "lower":
            raise Unsuited(f"its tokenizer cleans texts by {options['clean']!r}")
        return _byte_pairs(tower.context_length)
    clean = str(options.get("clean", "whitespace"))
    if kind == "siglip2":
        return _gemma(given, clean, tower.context_length)
    return _with_cleaning(given, clean, tower.context_length, with_mask=kind == "clip")


def _byte_pairs(context_length: int) -> Any:  # noqa: ANN401 - one of transformers'
    from transformers import CLIPTokenizer

    plain = open_clip.SimpleTokenizer(context_length=context_length)
    names = {"<start_of_text>": _START, "<end_of_text>": _END}
    vocabulary = {names.get(token, token): number for token, number in plain.encoder.items()}
    merges = [tuple(pair) for pair in sorted(plain.bpe_ranks, key=plain.bpe_ranks.__getitem__)]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=context_length)


def _gemma(given: Any, clean: str, context_length: int) -> Any:  # noqa: ANN401
    """Return the one tokenizer that transformers' Auto classes make of a SigLIP 2, whatever a folder says."""
    from transformers import Siglip2Tokenizer

    model = json.loads(given.backend_tokenizer.to_str())["model"]
    if clean != "lower" or model.get("type") != "BPE":
        raise Unsuited(f"its tokenizer is a {model.get('type')} that cleans texts by {clean!r}, and not Gemma's")
    special = {name: str(value) for name, value in given.special_tokens_map.items() if isinstance(value, str)}
    tokenizer = Siglip2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        model_max_length=context_length,
        model_input_names=["input_ids"],
        padding_side=given.padding_side,
        **special,
    )
    tokenizer.backend_tokenizer.post_processor = given.backend_tokenizer.post_processor
    return tokenizer


def _with_cleaning(given: Any, clean: str, context_length: int, *, with_mask: bool) -> Any:  # noqa: ANN401
    """Return a copy of a tokenizer that cleans its texts as open_clip does, but for `ftfy` and HTML entities."""
    from tokenizers import Regex, Tokenizer, normalizers
    from transformers import PreTrainedTokenizerFast

    backend = getattr(given, "backend_tokenizer", None)
    if backend is None:
        raise Unsuited(f"its tokenizer is {type(given).__name__}, which has no tokenizer.json")
    copied = Tokenizer.from_str(backend.to_str())
    steps: list[Any] = [normalizers.NFC()]  # as ftfy
    if clean == "canonicalize":
        marks = "".join(f"\\{mark}" for mark in string.punctuation if mark != "_")
        steps += [normalizers.Replace("_", " "), normalizers.Replace(Regex(f"[{marks}]"), "")]
    if clean in ("canonicalize", "lower"):
        steps.append(normalizers.Lowercase())
    steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    if copied.normalizer is not None:
        steps.append(copied.normalizer)
    copied.normalizer = normalizers.Sequence(steps)
    special = {name: str(value) for name, value in given.special_tokens_map.items() if isinstance(value, str)}
    return PreTrainedTokenizerFast(
        tokenizer_object=copied,
        model_max_length=context_length,
        model_input_names=["input_ids", "attention_mask"] if with_mask else ["input_ids"],
        padding_side=given.padding_side,
        truncation_side=given.truncation_side,
        **special,
    )


def processor_files(processor: Any, folder: Any) -> None:  # noqa: ANN401 - one of transformers'
    """Write a processor's files into a folder, also under the names that transformers 4 looks for."""
    processor.save_pretrained(str(folder))
    images = json.loads(processor.image_processor.to_json_string())
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(images, indent=2, sort_keys=True) + "\n", encoding="utf-8")
