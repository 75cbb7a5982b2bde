"""What an annotation of many images costs, from measured shards: fit, simulate, extrapolate with an error."""
