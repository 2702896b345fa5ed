"""What the OpenAPI schema has besides the routes: the scope that each operation needs, and the event of a report."""

from typing import Any

from fastapi import FastAPI

from api.schemas.events import EventReport
from api.scopes import MEANINGS, OPEN_ROUTES, scope_of
from api.security import HEADER

SCHEME = "APIKeyHeader"


def describe_scopes(app: FastAPI) -> None:
    """Add the scopes of :mod:`api.scopes` to the schema of an application."""
    make_schema = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = make_schema()
            _add_scopes(schema)
            _add_report(schema)
        return make_schema()

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents


def _add_scopes(schema: dict[str, Any]) -> None:
    meanings = "".join(f"\n- `{scope}`: {meaning}" for scope, meaning in MEANINGS.items())
    schema.setdefault("components", {})["securitySchemes"] = {
        SCHEME: {
            "type": "apiKey",
            "in": "header",
            "name": HEADER,
            "description": f"Needed only if the service requires keys. A key has one or more scopes:\n{meanings}",
        }
    }
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if f"{method.upper()} {path}" not in OPEN_ROUTES:
                scope = scope_of(method.upper(), path)
                operation["security"] = [{SCHEME: [] if scope is None else [scope]}]
                needed = "any" if scope is None else f"`{scope}`"
                operation["description"] = f"{operation['description']}\n\nScope of the API key: {needed}."


def _add_report(schema: dict[str, Any]) -> None:
    """Add the schema of the JSON in the form of ``POST /v1/events``, which is a text to FastAPI."""
    report = EventReport.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["components"]["schemas"] |= report.pop("$defs") | {EventReport.__name__: report}
