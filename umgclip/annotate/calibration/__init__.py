"""How precise the labels of regions are, estimated from the training images alone, and the score that they need."""
