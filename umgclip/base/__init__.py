"""Stage `base`: the CLIP to start from."""
