"""Ways to read a region's embedding out of a CLIP, one a file; all of them share one signature."""
