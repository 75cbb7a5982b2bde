"""Stage `train`: LoRA on both towers from captions, tags, regions and pixels at once."""
