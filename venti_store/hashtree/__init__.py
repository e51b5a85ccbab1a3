"""Hash trees over blocks: entries, roots, pointer trees, as in venti(6); knows nothing of files."""
