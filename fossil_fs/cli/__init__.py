"""The commands that work on trees, one module each."""
