"""Control groups of versions 1 and 2, and both at once."""
