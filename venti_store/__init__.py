"""Scores, blocks and the stores that keep them: venti."""
