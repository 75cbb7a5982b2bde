"""Detection of named things: proposals, read out of the dense map, scored by their names."""
