"""Tokenizers without downloads: the ids are as many as the models need, the words are cut in another way."""

from __future__ import annotations

import gzip
import string
from pathlib import Path

import open_clip
import transformers as hf
from open_clip.tokenizer import bytes_to_unicode
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

NUMERALS = [f"<loc_{i}>" for i in range(1000)]


def byte_level(specials: list[str], **kwargs: object) -> hf.PreTrainedTokenizerFast:
    """Return a tokenizer of bytes with some special tokens, whose ids come first."""
    letters = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(dict.fromkeys(letters))}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **kwargs)


def qwen_chat() -> tuple[hf.PreTrainedTokenizerFast, str]:
    """Return a tokenizer with the special tokens of Qwen-VL, and the template of its chats."""
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
                "<|video_pad|>"]  # fmt: skip
    named = {"image_token": 5, "video_token": 6, "vision_bos_token": 3, "vision_eos_token": 4}
    tokenizer = byte_level(
        specials, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        extra_special_tokens={name: specials[i] for name, i in named.items()},
    )  # fmt: skip
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}{% if c.type=='image' %}"
        "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer, template


def clip_bpe(**kwargs: object) -> hf.CLIPTokenizer:
    """Return CLIP's own tokenizer, from the merges that open_clip brings along."""
    path = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    merges = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
    vocab = {token: i for i, token in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return hf.CLIPTokenizer(vocab=vocab, merges=[tuple(merge.split()) for merge in merges], **kwargs)


def bert_words() -> hf.PreTrainedTokenizerFast:
    """Return a tokenizer of letters and some words, with the special ids of BERT."""
    # Grounding DINO's code knows the ids of [CLS], [SEP], "." and "?"
    names = {0: "[PAD]", **{i: f"[unused{i}]" for i in range(1, 1100)}}
    names |= {100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    names |= {200 + i: c for i, c in enumerate(string.ascii_lowercase)}
    names |= {300 + i: "##" + c for i, c in enumerate(string.ascii_lowercase)}
    names |= {400 + i: w for i, w in enumerate(["a", "the", "cat", "dog", "car", "person", "tree"])}
    tokenizer = Tokenizer(models.WordPiece({names[i]: i for i in sorted(names)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]",
        mask_token="[MASK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip
