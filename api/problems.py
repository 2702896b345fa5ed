"""Error answers: application/problem+json (RFC 9457) with a stable code."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import InvalidRequest, status_of
from api.route_inputs import RouteInputs
from api.schemas.common import Problem
from api.services import services_of
from api.validation import explain_errors
from ml.errors import SignalMLError
from ml.system.logs import current_request_id
from ml.system.server_paths import hide_home
from ml.system.validation import shorten

logger = logging.getLogger("signalml.problems")
PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 1
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Names of RFC 9110. Python before 3.13 has older ones, and an answer must not depend on the version of Python.
RENAMED_STATUSES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
RETRY_STATUSES = (429, 503)
FRAMEWORK_CODES = {
    400: "request_refused",
    404: "route_not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


def build_problem(status: int, code: str, detail: str) -> Problem:
    """Return the body of an error answer."""
    return Problem(
        type=f"urn:signalml:problem:{code}",
        title=_phrase(status),
        status=status,
        detail=detail,
        code=code,
        request_id=current_request_id(),
    )


def _phrase(status: int) -> str:
    return RENAMED_STATUSES.get(status) or HTTPStatus(status).phrase


def problem_of_error(error: SignalMLError, home: Path | None = None) -> Problem:
    """Return the body of the answer to one of the project's own errors.

    Args:
        error: the error.
        home: SIGNALML_HOME, which the answer must not show; None for an error of a request, which has no path.
    """
    detail = str(error) if home is None else hide_home(str(error), home)
    return build_problem(status_of(type(error)), error.code, detail)


def problem_response(body: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the error answer, with the headers of its status."""
    extra = dict(headers or {})
    if body.status in RETRY_STATUSES:
        extra.setdefault("Retry-After", str(RETRY_AFTER_S))
    if body.status == 401:
        extra.setdefault("WWW-Authenticate", 'ApiKey realm="signalml"')
    return JSONResponse(body.model_dump(), body.status, extra, media_type=PROBLEM_JSON)


def error_responses(*kinds: type[SignalMLError]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of errors: one for each status, with an example for each code."""
    entries: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status = status_of(kind)
        entry = entries.setdefault(
            status,
            {
                "description": _phrase(status),
                "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        summary = " ".join((kind.__doc__ or kind.code).split())
        example = build_problem(status, kind.code, summary).model_dump() | {"request_id": "0b3c5d4e1f2a4b6c"}
        entry["content"][PROBLEM_JSON]["examples"][kind.code] = {"summary": summary, "value": example}
    return entries


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of ``app`` with problem+json."""
    app.add_exception_handler(SignalMLError, _on_signalml_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


async def _on_signalml_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SignalMLError)  # noqa: S101 - for the type checker; Starlette guarantees it
    services = services_of(request)
    services.metrics.count_refusal(error.code)
    return problem_response(problem_of_error(error, services.settings.home))


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    # FastAPI turns every error while it reads a JSON body into a 400; the cause has the right status.
    if isinstance(error.__cause__, SignalMLError):
        return await _on_signalml_error(request, error.__cause__)
    if error.status_code == 400 and error.__cause__ is not None:
        return await _on_signalml_error(request, InvalidRequest(f"The body cannot be read as JSON: {error.__cause__}"))
    path = shorten(request.url.path)
    code = FRAMEWORK_CODES.get(error.status_code, "request_refused")
    details = {
        404: f"There is no route {path}; /docs lists all routes.",
        405: f"{request.method} is not allowed at {path}.",
    }
    services_of(request).metrics.count_refusal(code)
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(_allowed(request))
    return problem_response(
        build_problem(error.status_code, code, details.get(error.status_code, str(error.detail))), headers
    )


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes at the path of a request. The framework names those of the first."""
    found = [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
    return ["GET", "HEAD", *found[1:]] if "GET" in found else found  # api.paths answers HEAD like GET


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    if error.body is not None and "json" not in request.headers.get("content-type", ""):
        return await _on_signalml_error(
            request, InvalidRequest("The body was not sent as JSON; Content-Type: application/json was expected.")
        )
    detail = explain_errors(error.errors(), error.body, RouteInputs.of(request).json_fields_at)
    return await _on_signalml_error(request, InvalidRequest(detail))


async def _on_disconnect(_request: Request, _error: Exception) -> JSONResponse:
    """Return an answer that nobody reads; without it, a disconnect would be logged as a bug."""
    return problem_response(
        build_problem(400, "client_disconnected", "The client disconnected before its request was complete.")
    )


class UnhandledErrorMiddleware:
    """ASGI middleware that logs unexpected errors under the request id, and answers 500 without details.

    Starlette's own error middleware is outside of all others, where the request id is not available.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception:  # no later handler logs and answers unexpected errors
            logger.exception("unexpected error")
            if started or scope["type"] != "http":
                raise  # a part of the answer was sent: the server can only close the connection
            detail = "An internal error occurred; the log has its details under this request_id."
            await problem_response(build_problem(500, "internal_error", detail))(scope, receive, send)
