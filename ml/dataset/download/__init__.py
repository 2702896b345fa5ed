"""Public recordings, fetched and unpacked into the layout that :mod:`ml.dataset` reads."""

from ml.dataset.download.mimii import MACHINES, SNR_DB, SOURCE, download_mimii

__all__ = ["MACHINES", "SNR_DB", "SOURCE", "download_mimii"]
