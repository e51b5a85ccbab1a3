"""A store in an LMDB environment: an append-only log of records, and an index over it."""
