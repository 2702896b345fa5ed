"""A folder, a collection or a manifest of recordings -> one index, and its sides for training and testing."""

from ml.dataset.checks import check
from ml.dataset.entries import ABNORMAL, NORMAL, Dataset, Entry, Label, Refusal
from ml.dataset.indexing import index
from ml.dataset.names import dataset_folder
from ml.dataset.sides import Split
from ml.dataset.splits import split
from ml.dataset.summary import summary

__all__ = [
    "ABNORMAL",
    "NORMAL",
    "Dataset",
    "Entry",
    "Label",
    "Refusal",
    "Split",
    "check",
    "dataset_folder",
    "index",
    "split",
    "summary",
]
