"""Gallery of a dataset: a sample of its images with their annotations, and what was refused beside them."""
