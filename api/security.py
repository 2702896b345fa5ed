"""Who may ask, and who may change what answers."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader

from api.api_keys import ApiKeyScope
from api.errors import MissingApiKey, MissingApiKeyScope
from api.services import services_of

HEADER = "X-API-Key"
header = APIKeyHeader(name=HEADER, auto_error=False, description="Only where the service requires keys.")


@dataclass(frozen=True, slots=True)
class RequireScope:
    """A dependency that lets a request through if keys are not required, or its key allows ``scope``."""

    scope: ApiKeyScope

    async def __call__(self, request: Request, secret: Annotated[str | None, Security(header)]) -> None:
        """Look at the key.

        Raises:
            MissingKey, ScopeMissing
        """
        services = services_of(request)
        if not services.settings.require_api_key:
            return
        if not secret:
            raise MissingApiKey(f"This service needs an API key in the header {HEADER}.")
        key = services.keys.find(secret)
        if key is None:
            raise MissingApiKey("The API key is not known here, or was revoked.")
        if not key.allows(self.scope):
            raise MissingApiKeyScope(
                f"The API key {key.name!r} has the scope {key.scope}; {self.scope} is needed for this."
            )


class AuthFirstRoute(APIRoute):
    """A route that looks at the key before all else: FastAPI would read a JSON body before any dependency."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What FastAPI makes of the route, behind its keys."""
        answer = super().get_route_handler()
        locks = [each.dependency for each in self.dependencies if isinstance(each.dependency, RequireScope)]
        if self.body_field is None:
            return answer

        async def unlocked(request: Request) -> Response:
            for lock in locks:
                await lock(request, request.headers.get(HEADER))
            return await answer(request)

        return unlocked


async def key_name(request: Request, secret: Annotated[str | None, Security(header)]) -> str | None:
    """The name of the API key that a request came with; None where keys are not required."""
    services = services_of(request)
    if not services.settings.require_api_key or secret is None:
        return None
    key = services.keys.find(secret)
    return None if key is None else key.name


KeyName = Annotated[str | None, Depends(key_name)]
