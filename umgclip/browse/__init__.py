"""A gallery of a dataset: a sample of its images with all that is said of them, and what was refused beside them."""
