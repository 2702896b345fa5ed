"""Public recordings, fetched and unpacked into the layout that :mod:`ml.dataset` reads."""
