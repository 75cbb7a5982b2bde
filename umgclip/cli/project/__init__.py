"""`umgclip init`, `code` and `follow`: start a project and keep its pipeline complete."""
