"""The scratch: where a mount keeps what was changed, until a save turns it into blocks.

It knows inodes, names and file bytes as records, and nothing of trees, stores or the kernel.
"""
