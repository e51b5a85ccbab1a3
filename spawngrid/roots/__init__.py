"""Roots from outside: directories, tar archives, new Debian systems; and back."""
