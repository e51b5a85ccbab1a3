"""Directories as bytes: the records of vac and fossil, one table each; pure."""
