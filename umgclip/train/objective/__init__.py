"""The multi-granularity objective: one term a file, and their sum."""
