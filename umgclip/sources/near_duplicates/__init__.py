"""Images that look the same: perceptual hashes of a dataset, and which of them are near each other."""
