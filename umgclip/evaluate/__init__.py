"""Benchmarks of the base and of the tuned model, and the annotator against the truth; one benchmark a file."""
