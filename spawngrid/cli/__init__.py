"""The commands of the grid, a module each."""
