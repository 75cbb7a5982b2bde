"""Image towers that give a global embedding and a dense map in one pass, one architecture a file."""
