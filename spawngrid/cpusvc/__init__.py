"""The dispatcher of a cpu node: does what cpu.in says, and says in cpu.out what there is."""
