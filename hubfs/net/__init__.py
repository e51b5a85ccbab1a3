"""Hubs over the network: what is said, who serves it, and a mount of hubs that are elsewhere."""
