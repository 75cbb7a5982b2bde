"""The demo data set: scenes drawn from a seed, without a download."""
