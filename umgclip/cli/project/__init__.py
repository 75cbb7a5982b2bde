"""`umgclip init`, `code` and `follow`: create a project and keep its pipeline complete."""
