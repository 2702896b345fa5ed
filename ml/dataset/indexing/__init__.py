"""A folder, a manifest or a collection -> an index of its recordings."""
