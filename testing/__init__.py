"""Servers, job queues and model files for tests and benchmarks."""
