"""Measurement of the paper's claim on the demo: `python -m benchmarks.claim`, or `make claim`."""
