"""Names of the files in a model folder: open_clip's own layout, so that `local-dir:FOLDER` loads it."""

from collections.abc import Mapping
from typing import Any

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
ADAPTER = "adapter"  # folder of the stage `train`'s output, and of a version
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
USAGE = "umgclip_preprocess.json"  # how images and labels reach the model
# of a tokenizer that open_clip does not bring along
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
)
# what the stages base and train wrote about their weights, beside them
BASE_REPORT = "base.json"
TRAIN_REPORT = "train.json"
TRAINED_ON = "trained_on"  # in both: names of the source datasets of the images that the weights were trained on

LONG_TEXT = "long_text"  # our key in a text config: the second path of a text tower (`umgclip.model.clip.long_text`)


def text_length(text_cfg: Mapping[str, Any]) -> int:
    """Return the tokens of the longest text that a model of this text config reads."""
    path = text_cfg.get(LONG_TEXT)
    config = path if isinstance(path, Mapping) else text_cfg
    return int(config.get("context_length", 77))
