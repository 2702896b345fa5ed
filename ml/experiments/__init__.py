"""Experiments: comparison of detectors, cross-validation, and the original project's way of measuring."""
