"""From a tree of blocks to files of the host, whoever made the tree: `unvac`."""
