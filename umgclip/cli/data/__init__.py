"""`umgclip data`: make, import, look at, verify and export datasets."""
