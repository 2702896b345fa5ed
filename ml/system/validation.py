"""Sentences for the errors of pydantic: what was found, and what was expected."""

from collections.abc import Mapping
from typing import Any

MAX_SHOWN_LENGTH = 64
# By pydantic's types of errors; braces stand for the values of the error's context.
EXPECTED = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "string_type": "a text",
    "string_unicode": "a text of whole characters",
    "string_too_short": "a text of {min_length} characters or more",
    "string_too_long": "a text of {max_length} characters or less",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "literal_error": "{expected}",
    "list_type": "a list",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or less",
    "model_type": "a JSON object",
    "model_attributes_type": "a JSON object",
    "dict_type": "a JSON object",
}
Error = Mapping[str, Any]


def describe_errors(errors: list[Error]) -> str:
    """A sentence on the errors of one place, each from another type that the value may have.

    Args:
        errors: of one place, as pydantic lists them, at least one.
    """
    first = errors[0]
    place = ".".join(map(str, first["loc"][:1]))
    if first["type"] == "value_error":
        return f"{place or 'The options'}: {first['ctx']['error']}."
    expected = " or ".join(dict.fromkeys(filter(None, map(describe_expected, errors))))
    if not expected:
        return f"{place} is {describe_value(first['input'])}: {first['msg']}."
    return f"{place} is {describe_value(first['input'])}; {expected} was expected."


def describe_expected(error: Error) -> str:
    """What was expected where an error is; empty for an error that has no words here."""
    return EXPECTED.get(error["type"], "").format_map(error.get("ctx", {}))


def describe_value(value: object) -> str:
    """A value as it was sent, or its type where it may be long."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "null"
        case dict():
            return "a JSON object"
        case list():
            return "a list"
    return shorten(repr(value))


def shorten(text: str) -> str:
    """The beginning of a text, with escapes for halves of characters, which JSON may hold and UTF-8 may not."""
    shown = text.encode(errors="backslashreplace").decode()
    return shown if len(shown) <= MAX_SHOWN_LENGTH else f"{shown[:MAX_SHOWN_LENGTH]}..."
