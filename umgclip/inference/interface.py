"""The names of a registered model's request and answer fields; constants alone, so this imports no model code."""

FORMAT = 2  # of requests and answers; with another number `register` makes a new version of the same weights
FIELDS = ("image", "labels", "boxes", "masks", "tags", "vocabulary", "similarity_map", "region_embeddings")
ANSWER = (
    "embedding",
    "label_scores",
    "box_label_scores",
    "mask_label_scores",
    "box_embeddings",
    "mask_embeddings",
    "tags",
    "similarity_map",
)
