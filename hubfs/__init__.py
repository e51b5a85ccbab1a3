"""Pipe hubs: files that many read and many write."""
