"""Datasets on the way into training: samples, concepts, batches."""
