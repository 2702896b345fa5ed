"""Sentences about invalid parameters or JSON of a request: what was found, and what was expected.

Pydantic finds the errors. Its own messages do not name the value that was found.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_SENTENCES = 10
MAX_SHOWN_LENGTH = 64
# Expected values, by pydantic's error types; names in braces are values of pydantic's error context.
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
    "string_unicode": "a text of valid Unicode characters",
    "string_too_short": "a text of {min_length} characters or more",
    "string_too_long": "a text of {max_length} characters or less",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "literal_error": "{expected}",
    "list_type": "a list",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or less",
    "model_type": "a JSON object",
    "model_attributes_type": "a JSON object",
    "dict_type": "a JSON object",
}
Error = Mapping[str, Any]


def explain_errors(errors: Sequence[Error], body: Any, fields: Sequence[str]) -> str:
    """Return one sentence for each invalid place, at most :data:`MAX_SENTENCES`.

    Args:
        errors: errors from pydantic.
        body: JSON that was sent, as far as it could be read.
        fields: names of the fields of the JSON body.
    """
    at: dict[str, list[Error]] = {}
    for error in errors:
        at.setdefault(_place(error, body), []).append(error)
    return " ".join(_sentence(place, some, fields) for place, some in list(at.items())[:MAX_SENTENCES])


def _place(error: Error, body: Any) -> str:
    """Return the place of an error, without the names of types that pydantic adds in a JSON body."""
    where, *parts = error["loc"]
    if where != "body" or error["type"] in ("missing", "extra_forbidden", "json_invalid"):
        return _readable(".".join(map(str, error["loc"])))
    return _readable(".".join([where, *map(str, _existing_parts(parts, body))]))


def _existing_parts(parts: Sequence[str | int], values: Any) -> Iterator[str | int]:
    for part in parts:
        try:
            values = values[part]
        except (LookupError, TypeError):
            return
        yield part


def _sentence(place: str, errors: Sequence[Error], fields: Sequence[str]) -> str:
    first = errors[0]
    context: Mapping[str, Any] = first.get("ctx", {})
    match first["type"]:
        case "json_invalid":
            return f"The body is not JSON: {context['error']} at character {first['loc'][-1] + 1}."
        case "missing":
            return "There is no body; a JSON object was expected." if place == "body" else f"{place} is missing."
        case "extra_forbidden":
            known = f"; the fields are: {', '.join(fields)}" if len(first["loc"]) == len(("body", "field")) else ""
            return f"{place} is not a field of this body{known}."
        case "value_error":
            return f"{place}: {context['error']}."
    # For a value that may have several types, pydantic has an error for each type.
    expected = " or ".join(dict.fromkeys(filter(None, map(_expected, errors))))
    if not expected:
        return f"{place} is {_found(first['input'])}: {first['msg']}."
    return f"{place} is {_found(first['input'])}; {expected} was expected."


def _expected(error: Error) -> str:
    return EXPECTED.get(error["type"], "").format_map(error.get("ctx", {}))


def _found(value: object) -> str:
    """Return a value as the client sent it, or its kind if it may be long."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "null"
        case dict():
            return "a JSON object"
        case list():
            return "a list"
    return _readable(repr(value))


def _readable(text: str) -> str:
    """Return the beginning of a text, with escapes for lone surrogates, which cannot be encoded."""
    shown = text.encode(errors="backslashreplace").decode()
    return shown if len(shown) <= MAX_SHOWN_LENGTH else f"{shown[:MAX_SHOWN_LENGTH]}..."
