"""What surrounds a stage on the command line: its run in MLflow, its progress, its tables, its exit code."""
