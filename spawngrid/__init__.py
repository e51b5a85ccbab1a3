"""Environments on demand from any stored root."""
