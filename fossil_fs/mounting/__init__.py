"""A mount as a running thing: its daemon, its record, its console, and the scratches left behind."""
