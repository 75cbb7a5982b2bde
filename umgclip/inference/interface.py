"""What a registered model is asked and answers, by name: constants alone, so that who needs no model loads none."""

FORMAT = 2  # of requests and answers; another number makes `register` put the same weights into a new version
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
