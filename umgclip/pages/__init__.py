"""The common look of all pages that the package writes or serves."""
