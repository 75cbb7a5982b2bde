"""Recognise texts that refuse to describe an image, and texts that say nothing."""
