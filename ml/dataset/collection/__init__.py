"""A dataset that grows by uploads."""
