"""What becomes of what the roles said: one rule a file; what is rejected is kept with its reason."""
