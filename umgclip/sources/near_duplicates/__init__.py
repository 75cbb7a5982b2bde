"""Search for images that look the same: perceptual hashes of a dataset, and the hashes near each other."""
