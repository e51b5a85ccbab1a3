"""Names of roots: signed records in a store's log, what they mean together, and how they are looked up."""
