"""Messages for the errors of pydantic: the value that was found, and the values that are expected."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

MAX_SHOWN_LENGTH = 64  # characters of a text from outside that a message repeats
# By pydantic's error types; names in braces are replaced by values of the error's context.
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


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a question with the known name that is nearest to an unknown one; empty if none is near.

    Example:
        >>> suggest("promot", ["promote", "dataset"]), suggest("colour", ["promote"])
        (" Did you mean 'promote'?", '')
    """
    by_folded = {each.casefold(): each for each in known}
    nearest = get_close_matches(name.casefold()[:MAX_SHOWN_LENGTH], by_folded, n=1)
    return f" Did you mean {by_folded[nearest[0]]!r}?" if nearest else ""


def show_required_example(schema: dict[str, Any]) -> None:
    """Add an example with the required fields alone to a JSON schema, as ``json_schema_extra`` of a pydantic model.

    Swagger UI fills the body of a request with it. Without it, optional fields are filled with made-up values, too.
    """
    properties = schema.get("properties", {})
    examples = {name: properties[name].get("examples") for name in schema.get("required", ())}
    if all(examples.values()):
        schema["example"] = {name: found[0] for name, found in examples.items()}


def describe_errors(errors: list[Error]) -> str:
    """Return one message for all errors of a value; pydantic lists one error for each allowed type.

    Args:
        errors: the errors, at least one.
    """
    first = errors[0]
    place = ".".join(map(str, first["loc"][:1]))
    if first["type"] == "value_error":
        message = str(first["ctx"]["error"])
        return f"{place}: {message}." if place else f"{message[0].upper()}{message[1:]}."
    return describe_mismatch(place, errors)


def describe_mismatch(place: str, errors: Sequence[Error]) -> str:
    """Return the message for a value of a wrong type or size: the value and the expected ones."""
    found, expected = (
        describe_value(errors[0]["input"]),
        " or ".join(dict.fromkeys(filter(None, map(_expected, errors)))),
    )
    return f"{place} is {found}; {expected} was expected." if expected else f"{place} is {found}: {errors[0]['msg']}."


def _expected(error: Error) -> str:
    """Return the expected values of an error; empty for an error type that is not in :data:`EXPECTED`."""
    return EXPECTED.get(error["type"], "").format_map(error.get("ctx", {}))


def describe_value(value: object) -> str:
    """Return a value as it was sent, or its type if it can be long."""
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
    """Return the first 64 characters of a text; lone surrogates, which UTF-8 cannot encode, are escaped."""
    shown = text.encode(errors="backslashreplace").decode()
    return shown if len(shown) <= MAX_SHOWN_LENGTH else f"{shown[:MAX_SHOWN_LENGTH]}..."
