"""The slow side as a process of its own: shared memory, what travels in it, and who keeps the process alive."""
