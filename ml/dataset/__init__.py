"""A folder or a manifest of recordings -> one index, and its sides for training and testing."""

from ml.dataset.entries import Dataset, Entry, Label, Refusal

__all__ = ["Dataset", "Entry", "Label", "Refusal"]
