"""The commands of replication, a module each."""
