"""Targets of the fuzzing: one module for each parser."""
