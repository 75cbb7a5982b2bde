"""The command line around the stages: MLflow runs, progress, result tables and exit codes."""
