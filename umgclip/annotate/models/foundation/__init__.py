"""Annotators with downloaded weights, by transformers' own classes: no code of a model's repository is ever run."""
