"""Diffusion feedback: the objective, what it reconstructs, and the models that reconstruct."""
