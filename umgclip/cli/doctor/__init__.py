"""Command `umgclip doctor`: check the machine, the parameters and the data before hours are spent."""
