"""A node of the grid: its one file of configuration, its one listener, its services."""
