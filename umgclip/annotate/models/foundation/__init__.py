"""Annotators with downloaded weights, by classes of transformers: code of a model's repository is never run."""
