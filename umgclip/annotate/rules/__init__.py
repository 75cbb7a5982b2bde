"""Rules for the answers of the roles, one rule a file; a rejected answer is recorded with its reason."""
