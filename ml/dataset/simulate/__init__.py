"""Simulated recordings of fans with three faults, in the MIMII layout."""
