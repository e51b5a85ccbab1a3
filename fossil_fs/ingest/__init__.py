"""From a directory of the host to a tree of blocks: `vac`."""
