"""What makes an environment around a root and lets commands join it: runtimes, by one description."""
