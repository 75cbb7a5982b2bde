"""Exports of a dataset for other programs, one file a format."""
