"""Who may ask, and who may change what answers."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from api.errors import MissingKey, ScopeMissing
from api.keys import Scope
from api.services import services_of

HEADER = "X-API-Key"
header = APIKeyHeader(name=HEADER, auto_error=False, description="Only where the service requires keys.")


def requires(scope: Scope) -> Callable[[Request, str | None], Awaitable[None]]:
    """A dependency that lets a request through if keys are not required, or its key allows ``scope``."""

    async def check(request: Request, secret: Annotated[str | None, Security(header)]) -> None:
        services = services_of(request)
        if not services.settings.require_api_key:
            return
        if not secret:
            raise MissingKey(f"This service needs an API key in the header {HEADER}.")
        key = services.keys.find(secret)
        if key is None:
            raise MissingKey("The API key is not known here, or was revoked.")
        if not key.allows(scope):
            raise ScopeMissing(f"The API key {key.name!r} has the scope {key.scope}; {scope} is needed for this.")

    return check


async def key_name(request: Request, secret: Annotated[str | None, Security(header)]) -> str | None:
    """The name of the API key that a request came with; None where keys are not required."""
    services = services_of(request)
    if not services.settings.require_api_key or secret is None:
        return None
    key = services.keys.find(secret)
    return None if key is None else key.name


KeyName = Annotated[str | None, Depends(key_name)]
