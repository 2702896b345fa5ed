"""JSON bodies. Names that are given twice, and numbers that JSON does not have, are refused."""

import json
from typing import Any, NoReturn

from fastapi import Request

from api.errors import InvalidRequest
from ml.system.validation import MAX_SHOWN_LENGTH


class StrictJsonRequest(Request):
    """Request whose JSON body has each name of an object once, and no number that JSON does not have."""

    async def json(self) -> Any:
        """Return the JSON of the body.

        Raises:
            json.JSONDecodeError: the body is not JSON.
            InvalidRequest: an object has a name twice, or a number is NaN or infinite.
        """
        return json.loads(await self.body(), object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidRequest(f"The JSON body has the field {name[:MAX_SHOWN_LENGTH]!r} twice; once was expected.")
        found[name] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"The JSON body has the number {name}, which JSON does not have; a finite one was expected.")
