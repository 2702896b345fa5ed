"""A folder, a collection or a manifest of recordings -> one index, and its sides for training and testing."""

from ml.dataset.entries import ABNORMAL, NORMAL, Dataset, Entry, Label, Refusal
from ml.dataset.indexing.build import index
from ml.dataset.paths import dataset_folder
from ml.dataset.splitting.leaks import check
from ml.dataset.splitting.methods import split
from ml.dataset.splitting.sides import Split
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
