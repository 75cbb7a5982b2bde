"""An import from its request to a finished dataset: parts, samples, duplicates, statistics."""
