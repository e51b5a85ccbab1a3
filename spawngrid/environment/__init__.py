"""Environments: a stored root, writable, with processes of its own that see nothing else."""
