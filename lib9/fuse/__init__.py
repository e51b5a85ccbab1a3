"""The FUSE engine: the one place that knows pyfuse3 and the kernel's requests."""
