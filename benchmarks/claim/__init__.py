"""The claim of the paper, measured again on the demo: `python -m benchmarks.claim`, or `make claim`."""
