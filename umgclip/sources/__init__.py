"""Imports of raw images from files, S3 and the demo; each one writes shards with alt texts, tables and a manifest."""
