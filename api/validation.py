"""Sentences about invalid parameters or JSON of a request: what was found, and what was expected.

Pydantic finds the errors. Its own messages do not name the value that was found.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ml.system.validation import Error, describe_mismatch, shorten, suggest

MAX_SENTENCES = 10
FieldsAt = Callable[[Sequence[str | int]], Sequence[str]]


def explain_errors(errors: Sequence[Error], body: Any, fields_at: FieldsAt) -> str:
    """Return one sentence for each invalid place, at most :data:`MAX_SENTENCES`.

    Args:
        errors: errors from pydantic.
        body: JSON that was sent, as far as it could be read.
        fields_at: returns the names of the fields at a place of the JSON body.
    """
    at: dict[str, list[Error]] = {}
    for error in errors:
        at.setdefault(_place(error, body), []).append(error)
    return " ".join(_sentence(place, some, fields_at) for place, some in list(at.items())[:MAX_SENTENCES])


def _place(error: Error, body: Any) -> str:
    """Return the place of an error, without the names of types that pydantic adds in a JSON body."""
    where, *parts = error["loc"]
    if where != "body" or error["type"] in ("missing", "extra_forbidden", "json_invalid"):
        return shorten(".".join(map(str, error["loc"])))
    return shorten(".".join([where, *map(str, _existing_parts(parts, body))]))


def _existing_parts(parts: Sequence[str | int], values: Any) -> Iterator[str | int]:
    for part in parts:
        try:
            values = values[part]
        except (LookupError, TypeError):
            return
        yield part


def _sentence(place: str, errors: Sequence[Error], fields_at: FieldsAt) -> str:
    first = errors[0]
    context: Mapping[str, Any] = first.get("ctx", {})
    match first["type"]:
        case "json_invalid":
            return f"The body is not JSON: {context['error']} at character {first['loc'][-1] + 1}."
        case "missing":
            return "There is no body; a JSON object was expected." if place == "body" else f"{place} is missing."
        case "extra_forbidden":
            _, *outer, name = first["loc"]
            fields = fields_at(outer)
            known = f"; the fields are: {', '.join(fields)}" if fields else ""
            return f"{place} is not a field of this body{known}.{suggest(str(name), fields)}"
        case "value_error":
            return f"{place}: {context['error']}."
    return describe_mismatch(place, errors)  # several errors: pydantic has one for each type that a value may have
