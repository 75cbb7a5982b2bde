"""One CLIP: towers, tokenizer, files on disk, preprocessing, and region read-out."""
