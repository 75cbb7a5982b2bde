"""Data sets of Hugging Face's `datasets` on disk: parquet, `save_to_disk`, and folders of images with metadata."""
