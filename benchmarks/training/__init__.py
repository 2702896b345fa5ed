"""Training beside the original's way: one file for each measurement."""
