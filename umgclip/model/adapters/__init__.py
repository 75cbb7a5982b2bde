"""Adapters, the part of a tuned model that is trained: LoRA, Convpass or all weights; and their files."""
