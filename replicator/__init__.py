"""Carrying blocks and names from one venti to others."""
