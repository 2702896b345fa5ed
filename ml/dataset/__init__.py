"""Datasets: index, collections, splits, simulation and download."""
