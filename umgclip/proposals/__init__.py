"""Class-agnostic regions of an image, found without a model."""
