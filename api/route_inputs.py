"""Names that a route takes. Other names are refused, because they are probably mistyped."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self, get_args, get_origin, runtime_checkable

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams

from api.errors import InvalidRequest, UnknownParameter
from api.forms import Form
from ml.system.validation import MAX_SHOWN_LENGTH, suggest


@runtime_checkable
class ReadsForm(Protocol):
    """Dependency that reads the form of a route."""

    form: Form


class RouteInputs(NamedTuple):
    """Names that a route takes, as in its OpenAPI schema.

    Attributes:
        route: method and path, for messages.
        query_parameters: names of its query parameters.
        lists: query parameters that may be given several times.
        form_parts: parts of its multipart form.
        json_body: model of its JSON body; None without one.
    """

    route: str
    query_parameters: list[str]
    lists: list[str]
    form_parts: list[str]
    json_body: Any

    @property
    def json_fields(self) -> list[str]:
        """Fields of the JSON body."""
        return self.json_fields_at(())

    def json_fields_at(self, place: Sequence[str | int]) -> list[str]:
        """Return the fields of a part of the JSON body; empty if it is no object with known fields.

        Args:
            place: names of fields and indexes of lists that lead to the part.
        """
        model = self.json_body
        for part in place:
            field = getattr(model, "model_fields", {}).get(part)
            model = model if field is None else _model_in(field.annotation)
        return list(getattr(model, "model_fields", ()))

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return the names that the route of a request declares."""
        route: APIRoute = request.scope["route"]
        readers: list[object] = [each.call for each in route.dependant.dependencies]
        forms = [reader.form for reader in readers if isinstance(reader, ReadsForm)]
        queries = [each for each in get_flat_params(route.dependant) if isinstance(each.field_info, Query)]
        bodies = [field.field_info.annotation for field in route.dependant.body_params]
        assert len(bodies) <= 1  # noqa: S101 - a route of this service has one JSON body at most
        return cls(
            route=f"{request.method} {route.path_format}",
            query_parameters=[each.alias for each in queries],
            lists=[each.alias for each in queries if _is_list(each.field_info.annotation)],
            form_parts=[part for form in forms for part in form.parts],
            json_body=bodies[0] if bodies else None,
        )

    def check_parameter(self, name: str) -> None:
        """Refuse a query parameter that the route does not take.

        Raises:
            UnknownParameter
        """
        if name not in self.query_parameters:
            belongs = {"a part of the form": self.form_parts, "a field of the JSON body": self.json_fields}
            raise self._unknown(name, "query parameter", self.query_parameters, belongs)

    def check_not_repeated(self, query: QueryParams) -> None:
        """Refuse a query parameter that is given several times and is not a list: its value is ambiguous.

        Raises:
            InvalidRequest
        """
        for name in self.query_parameters:
            if name not in self.lists and (count := len(query.getlist(name))) > 1:
                raise InvalidRequest(f"The query parameter {name!r} was given {count} times; once was expected.")

    def check_part(self, name: str) -> None:
        """Refuse a form part that the route does not take.

        Raises:
            UnknownParameter
        """
        if name not in self.form_parts:
            raise self._unknown(name, "form part", self.form_parts, {"a query parameter": self.query_parameters})

    def _unknown(self, name: str, kind: str, known: list[str], belongs: dict[str, list[str]]) -> UnknownParameter:
        takes = ", ".join(known) or "none"
        hints = [f"; {name!r} is {place} here" for place, names in belongs.items() if name in names]
        return UnknownParameter(
            f"{self.route} takes no {kind} {name[:MAX_SHOWN_LENGTH]!r}: it takes {takes}{''.join(hints)}."
            f"{'' if hints else suggest(name, known)}"
        )


def _model_in(annotation: Any) -> Any:
    """Return the model in a type such as ``list[Model] | None``; None without one."""
    if hasattr(annotation, "model_fields"):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _is_list(annotation: Any) -> bool:
    return any(get_origin(each) is list for each in (annotation, *get_args(annotation)))


async def reject_repeated_parameters(request: Request) -> None:
    """Refuse a query parameter that is given several times, unless it is a list.

    Raises:
        InvalidRequest
    """
    if request.query_params:
        RouteInputs.of(request).check_not_repeated(request.query_params)


async def reject_unknown_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not take, and repeated ones that are not lists.

    Raises:
        UnknownParameter, InvalidRequest
    """
    if request.query_params:
        declared = RouteInputs.of(request)
        for name in request.query_params:
            declared.check_parameter(name)
        declared.check_not_repeated(request.query_params)
