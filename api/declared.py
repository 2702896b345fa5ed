"""What a route says that it takes, and refusing all else: a name that is passed over is one mistyped."""

from typing import NamedTuple, Self

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from api.errors import UnknownParameter

MULTIPART = "multipart/form-data"
MAX_NAME_TOLD = 64


class Declared(NamedTuple):
    """The names that a route takes, as its schema has them.

    Attributes:
        route: method and path, to tell.
        parameters: of its query.
        parts: of its multipart form.
        fields: of its JSON body.
    """

    route: str
    parameters: list[str]
    parts: list[str]
    fields: list[str]

    @classmethod
    def by(cls, request: Request) -> Self:
        """What the route of a request declares."""
        route: APIRoute = request.scope["route"]
        form = (route.openapi_extra or {}).get("requestBody", {}).get("content", {}).get(MULTIPART, {})
        bodies = [field.field_info.annotation for field in route.dependant.body_params]
        return cls(
            route=f"{request.method} {route.path_format}",
            parameters=[each.alias for each in get_flat_params(route.dependant) if isinstance(each.field_info, Query)],
            parts=list(form.get("schema", {}).get("properties", ())),
            fields=[name for body in bodies for name in getattr(body, "model_fields", ())],
        )

    def require_parameter(self, name: str) -> None:
        """Refuse a query parameter that is none of its own.

        Raises:
            UnknownParameter
        """
        if name not in self.parameters:
            belongs = {"a part of the form": self.parts, "a field of the JSON body": self.fields}
            raise self._unknown(name, "query parameter", self.parameters, belongs)

    def require_part(self, name: str) -> None:
        """Refuse a part of a form that is none of its own.

        Raises:
            UnknownParameter
        """
        if name not in self.parts:
            raise self._unknown(name, "part of a form", self.parts, {"a query parameter": self.parameters})

    def _unknown(self, name: str, kind: str, known: list[str], belongs: dict[str, list[str]]) -> UnknownParameter:
        takes = ", ".join(known) or "none"
        hints = [f"; {name!r} is {place} here" for place, names in belongs.items() if name in names]
        return UnknownParameter(
            f"{self.route} takes no {kind} {name[:MAX_NAME_TOLD]!r}: it takes {takes}{''.join(hints)}."
        )


async def only_declared(request: Request) -> None:
    """A dependency that refuses query parameters that the route does not take.

    Raises:
        UnknownParameter
    """
    if request.query_params:
        declared = Declared.by(request)
        for name in request.query_params:
            declared.require_parameter(name)
