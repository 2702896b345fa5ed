"""Index of the recordings in a folder, a manifest or a collection."""
