"""Policies: what looks at an image before all others and may refuse it. A file each."""
