"""Labelling tools, one a file: what is written for people to look at, and how their answers are read."""
