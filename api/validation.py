"""What is wrong with a request's parameters or JSON, in sentences: what was found, and what was expected.

Pydantic finds it, and says what it expected but not what it found.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST_SENTENCES = 10
MAX_SHOWN_LENGTH = 64
# By pydantic's types of errors, with what it says of each in braces.
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


def explain_errors(errors: Sequence[Error], body: Any, fields: Sequence[str]) -> str:
    """What is wrong, in a sentence for each place.

    Args:
        errors: as pydantic has them.
        body: what was sent as JSON, as far as it could be read.
        fields: names that the JSON body's outermost object may have.
    """
    at: dict[str, list[Error]] = {}
    for error in errors:
        at.setdefault(_place(error, body), []).append(error)
    return " ".join(_sentence(place, some, fields) for place, some in list(at.items())[:MOST_SENTENCES])


def _place(error: Error, body: Any) -> str:
    """Where it is. Behind a place in the body pydantic has names of types, of which one place may be of several."""
    where, *parts = error["loc"]
    if where != "body" or error["type"] in ("missing", "extra_forbidden", "json_invalid"):
        return _readable(".".join(map(str, error["loc"])))
    return _readable(".".join([where, *map(str, _followed(parts, body))]))


def _followed(parts: Sequence[str | int], values: Any) -> Iterator[str | int]:
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
            return f"The body is no JSON: {context['error']} at character {first['loc'][-1] + 1}."
        case "missing":
            return "There is no body; a JSON object was expected." if place == "body" else f"{place} is missing."
        case "extra_forbidden":
            taken = f"; there are: {', '.join(fields)}" if len(first["loc"]) == len(("body", "field")) else ""
            return f"{place} is no field here{taken}."
        case "value_error":
            return f"{place}: {context['error']}."
    # Of a value that may be of several types, each says what it expected.
    expected = " or ".join(dict.fromkeys(filter(None, map(_expected, errors))))
    if not expected:
        return f"{place} is {_found(first['input'])}: {first['msg']}."
    return f"{place} is {_found(first['input'])}; {expected} was expected."


def _expected(error: Error) -> str:
    return EXPECTED.get(error["type"], "").format_map(error.get("ctx", {}))


def _found(value: object) -> str:
    """A value as a client has sent it, or its kind where that may be long."""
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
    """The beginning of a text, with escapes for what cannot be sent: a JSON text may have halves of characters."""
    shown = text.encode(errors="backslashreplace").decode()
    return shown if len(shown) <= MAX_SHOWN_LENGTH else f"{shown[:MAX_SHOWN_LENGTH]}..."
