"""Fuzzing of parsers that a client can reach; see README.md."""
