"""The header Idempotency-Key: each API key has its own, as clients do not know which ones others choose."""

from typing import Annotated, Any

from fastapi import Depends, Header

from api.security import KeyDep
from ml.system.idempotency import PATTERN


def idempotency_header(meaning: str) -> Any:
    """Return the dependency that reads the header of a route.

    Its value is the header, behind the name of the API key and a space, which the header cannot contain. Without
    required keys, the name is empty and the value is the header alone. Without the header, it is None.

    Args:
        meaning: what the header does on this route, for the schema.
    """
    description = f"A key that the client chooses, 1 to 128 printable ASCII characters without spaces. {meaning}"

    async def read(
        api_key: KeyDep,
        value: Annotated[str | None, Header(alias="Idempotency-Key", pattern=PATTERN, description=description)] = None,
    ) -> str | None:
        return f"{api_key.name} {value}".strip() if value is not None else None

    return Depends(read)
