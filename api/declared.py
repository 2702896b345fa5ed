"""What a route says that it takes, and refusing all else: a name that is passed over is one mistyped."""

from typing import Any, NamedTuple, Self, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams

from api.errors import InvalidRequest, UnknownParameter

MULTIPART = "multipart/form-data"
MAX_NAME_TOLD = 64


class Declared(NamedTuple):
    """The names that a route takes, as its schema has them.

    Attributes:
        route: method and path, to tell.
        parameters: of its query; ``lists`` are those of them that may be there several times.
        parts: of its multipart form.
        fields: of its JSON body.
    """

    route: str
    parameters: list[str]
    lists: list[str]
    parts: list[str]
    fields: list[str]

    @classmethod
    def by(cls, request: Request) -> Self:
        """What the route of a request declares."""
        route: APIRoute = request.scope["route"]
        form = (route.openapi_extra or {}).get("requestBody", {}).get("content", {}).get(MULTIPART, {})
        queries = [each for each in get_flat_params(route.dependant) if isinstance(each.field_info, Query)]
        bodies = [field.field_info.annotation for field in route.dependant.body_params]
        return cls(
            route=f"{request.method} {route.path_format}",
            parameters=[each.alias for each in queries],
            lists=[each.alias for each in queries if _is_list(each.field_info.annotation)],
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

    def require_once(self, query: QueryParams) -> None:
        """Refuse a query that has one of its parameters several times: nobody can tell which was meant.

        Raises:
            InvalidRequest
        """
        for name in self.parameters:
            if name not in self.lists and (count := len(query.getlist(name))) > 1:
                raise InvalidRequest(f"The query parameter {name!r} is there {count} times; one was expected.")

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


def _is_list(annotation: Any) -> bool:
    return any(get_origin(each) is list for each in (annotation, *get_args(annotation)))


async def once_each(request: Request) -> None:
    """A dependency that refuses a query parameter of the route that is there several times, unless it is a list.

    Raises:
        InvalidRequest
    """
    if request.query_params:
        Declared.by(request).require_once(request.query_params)


async def only_declared(request: Request) -> None:
    """A dependency that also refuses query parameters that the route does not take.

    Raises:
        UnknownParameter, InvalidRequest
    """
    if request.query_params:
        declared = Declared.by(request)
        for name in request.query_params:
            declared.require_parameter(name)
        declared.require_once(request.query_params)
