"""JSON bodies. Names that are given twice, and numbers that JSON does not have, are refused."""

import json
from typing import Any, NoReturn

from fastapi import Request

from api.errors import InvalidRequest
from ml.system.validation import MAX_SHOWN_LENGTH

MAX_DIGITS = 300  # of a whole number; a larger one is no float, and Python converts no more than 4300


class StrictJsonRequest(Request):
    """Request whose JSON body has each name of an object once, and no number that JSON does not have."""

    async def json(self) -> Any:
        """Return the JSON of the body.

        Raises:
            json.JSONDecodeError: the body is not JSON.
            InvalidRequest: an object has a name twice, a number is NaN, infinite or has too many digits, lists and
                objects are too deep in each other, or the text has bytes that are no characters.
        """
        return parse_strict(await self.body())


def parse_strict(body: bytes | str) -> Any:
    """Return the JSON of a body, or of a part of a form.

    Raises:
        json.JSONDecodeError, InvalidRequest: as of :meth:`StrictJsonRequest.json`.
    """
    try:
        return json.loads(
            body, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_parse_whole_number
        )
    except RecursionError:
        raise InvalidRequest("The JSON body has too many lists and objects in each other.") from None
    except UnicodeDecodeError:
        raise InvalidRequest("The JSON body has bytes that are no characters; UTF-8 was expected.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidRequest(f"The JSON body has the field {name[:MAX_SHOWN_LENGTH]!r} twice; once was expected.")
        found[name] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"The JSON body has the number {name}, which JSON does not have; a finite one was expected.")


def _parse_whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise InvalidRequest(
            f"The JSON body has a number of {len(text)} digits; at most {MAX_DIGITS} digits were expected."
        )
    return int(text)
