"""Benchmark metrics as pure numpy functions, one benchmark a file; nothing here reads, writes or logs."""
