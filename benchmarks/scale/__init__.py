"""Cost model of annotating many images from measured shards: fit, simulate, extrapolate with an error."""
