"""The listening: plain Python and numpy in, plain results out. Knows no HTTP and no queue."""
