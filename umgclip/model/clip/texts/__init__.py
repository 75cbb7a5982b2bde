"""Text towers: how their layers are called."""
