"""The commands ndbquery and ndbcheck."""
