"""DVC as a child process: its stages, its cache, clones of the repository, and the hand-off between machines."""
