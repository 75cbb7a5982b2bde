"""Each cost against its size: processor time and peak memory, from a thousand to a million."""
