"""Network database files, ndb(6): parse, query, append, check."""
