"""The precision of labels of regions, estimated from training images alone, and the score that labels need."""
