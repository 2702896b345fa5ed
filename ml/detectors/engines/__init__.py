"""Engines: ways to measure how far a clip is from normal."""
