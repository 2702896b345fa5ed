"""An index -> recordings for training, validation and test."""
