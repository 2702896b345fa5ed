"""Detectors learn from normal recordings alone: engines, calibration, thresholds, quality checks."""
