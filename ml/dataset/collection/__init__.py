"""Collection: a dataset that grows by uploads."""
