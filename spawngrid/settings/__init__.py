"""What a node is and whom it knows: files that an operator can read."""
