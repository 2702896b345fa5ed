"""Allowed names of models and versions."""

import re

LONGEST_NAME = 48
NAME_PATTERN = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
VERSION_PATTERN = re.compile(rf"{NAME_PATTERN.pattern}-[0-9a-f]{{10}}")
"""A version is the name of the model and a digest of its content."""
