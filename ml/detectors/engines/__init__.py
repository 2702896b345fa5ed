"""Engines: methods that measure how far a clip is from normal recordings."""
