"""Annotator kinds at the size of their published weights, with random weights: nothing is downloaded."""
