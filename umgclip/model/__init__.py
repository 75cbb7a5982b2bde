"""The CLIP: towers with dense features, region read-outs, adapters, and the files that hold them."""
