"""What users and operators run: blocking sockets, no event loop."""
