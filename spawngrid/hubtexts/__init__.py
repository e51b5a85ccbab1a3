"""The texts of the hubs: lines, what cpu nodes are told, what they say, and how hubs are read."""
