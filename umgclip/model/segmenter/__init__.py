"""A decoder for segmentation on a frozen tower: class-agnostic masks from queries, names from text embeddings."""
