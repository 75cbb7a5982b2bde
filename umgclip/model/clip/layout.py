"""Names of the files in a model folder: open_clip's own layout, so that `local-dir:FOLDER` loads it."""

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
