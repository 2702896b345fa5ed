"""Detectors that learn from healthy sound alone: engines, their ensemble, and what its scores mean."""
