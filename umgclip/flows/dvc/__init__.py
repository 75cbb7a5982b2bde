"""Control of DVC as a child process: stages, cache, clones of the repository, and the hand-off between machines."""
