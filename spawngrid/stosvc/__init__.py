"""The dispatcher of a storage node: who may have what, and which cpu node does it."""
