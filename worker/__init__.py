"""The long work, and the queue that carries it."""
