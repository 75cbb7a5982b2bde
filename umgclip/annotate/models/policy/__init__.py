"""Policies, one in each file: they see an image before all other roles and may refuse it."""
