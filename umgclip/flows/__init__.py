"""Prefect flows around the stages of `dvc.yaml`: wiring only, and everything about running DVC as a child process."""
