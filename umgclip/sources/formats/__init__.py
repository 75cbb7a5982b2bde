"""Dataset formats, one a file: each plans an import and reads its images with their labels."""
