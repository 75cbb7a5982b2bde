"""A SigLIP of a size for tests, and its tokenizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SENTENCES = ["a photo of a dog", "two owls on a wooden floor", "a red mug", "one cat s bed", "a very long caption word"]


def small_siglip(tokenizer: str = "timm/ViT-B-16-SigLIP", vocabulary: int = 300) -> dict[str, Any]:
    """A SigLIP of a size for tests, which plain open_clip cannot build by name."""
    return {
        "embed_dim": 48,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 64,
            "timm_model_name": "vit_base_patch16_siglip_224",
            "timm_pool": "map",
            "timm_proj": "none",
            "timm_options": {"img_size": 64, "embed_dim": 48, "num_heads": 2, "depth": 2},
        },
        "text_cfg": {
            "context_length": 64,
            "vocab_size": vocabulary,
            "hf_tokenizer_name": tokenizer,
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": 48,
            "heads": 2,
            "layers": 2,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
    }


def _write_siglip_tokenizer(folder: Path, *, gemma: bool = False) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=gemma, fuse_unk=gemma))
    tokenizer.normalizer = normalizers.Replace(" ", "▁") if gemma else normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next") if gemma else pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)] if gemma else []
    special = ["<pad>", "</s>", "<unk>", "<bos>", *bytes_]
    trainer = trainers.BpeTrainer(vocab_size=len(special) + 160, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if gemma:  # of words in training, of whole texts in use
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        pad_token="<pad>" if gemma else "</s>",
        unk_token="<unk>",
        bos_token="<bos>",
        padding_side="right",
        model_max_length=64,
    )
    wrapped.save_pretrained(str(folder))


@pytest.fixture(scope="session")
def write_siglip_tokenizer() -> Callable[..., None]:
    """Put the files of a small tokenizer into a folder: SigLIP's kind, or Gemma's as SigLIP 2 has it."""
    return _write_siglip_tokenizer
