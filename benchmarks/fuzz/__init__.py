"""Fuzzing of every parser that a client can reach: ``python -m benchmarks.fuzz``."""
