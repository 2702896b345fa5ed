"""Detectors of novelty beside the baseline published with MIMII."""
