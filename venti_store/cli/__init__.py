"""The `venti` command, one module for each of its words."""
