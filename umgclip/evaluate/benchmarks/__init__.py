"""The benchmarks, one a file: each is fed batch by batch and yields (name, value)."""
