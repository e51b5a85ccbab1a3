"""The commands of hubfs."""
