"""A folder, a collection or a manifest of recordings -> one index, and its sides for training and testing."""
