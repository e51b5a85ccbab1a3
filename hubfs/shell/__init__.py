"""Shells whose three descriptors are hubs: the host that runs one, and the client that attaches."""
