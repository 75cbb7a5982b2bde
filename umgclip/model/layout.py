"""Names of the files in a model folder: open_clip's own layout, so that `local-dir:FOLDER` loads it."""

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
USAGE = "umgclip_preprocess.json"  # how images and labels reach the model
