"""Download of public recordings into a layout that :mod:`ml.dataset` reads."""
