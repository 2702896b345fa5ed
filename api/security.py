"""Access control by API keys."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader

from api.api_keys import ApiKeyScope
from api.errors import MissingApiKey, MissingApiKeyScope
from api.json_bodies import StrictJsonRequest
from api.services import services_of

HEADER = "X-API-Key"
header = APIKeyHeader(name=HEADER, auto_error=False, description="Needed only if the service requires keys.")


@dataclass(frozen=True, slots=True)
class RequireScope:
    """Dependency that accepts a request if keys are not required, or if its key has ``scope``."""

    scope: ApiKeyScope

    async def __call__(self, request: Request, secret: Annotated[str | None, Security(header)]) -> None:
        """Check the key.

        Raises:
            MissingApiKey, MissingApiKeyScope
        """
        services = services_of(request)
        if not services.settings.require_api_key:
            return
        if not secret:
            raise MissingApiKey(f"The request has no API key; one is expected in the header {HEADER}.")
        key = services.keys.find(secret)
        if key is None:
            raise MissingApiKey("The API key is unknown or was revoked.")
        if not key.allows(self.scope):
            raise MissingApiKeyScope(
                f"The API key {key.name!r} has the scope {key.scope}; this route needs {self.scope}."
            )


class AuthFirstRoute(APIRoute):
    """Route that checks the key first; FastAPI would read a JSON body before any dependency."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler of the route, behind the check of the key."""
        answer = super().get_route_handler()
        checks = [each.dependency for each in self.dependencies if isinstance(each.dependency, RequireScope)]
        if self.body_field is None:
            return answer

        async def check_and_answer(request: Request) -> Response:
            for check in checks:
                await check(request, request.headers.get(HEADER))
            return await answer(StrictJsonRequest(request.scope, request.receive))

        return check_and_answer


async def key_name(request: Request, secret: Annotated[str | None, Security(header)]) -> str | None:
    """Return the name of the API key of a request; None if keys are not required."""
    services = services_of(request)
    if not services.settings.require_api_key or secret is None:
        return None
    key = services.keys.find(secret)
    return None if key is None else key.name


KeyName = Annotated[str | None, Depends(key_name)]
