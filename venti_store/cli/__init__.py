"""The `venti` command."""
