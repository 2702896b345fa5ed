"""The one shape of every error answer: application/problem+json (RFC 9457) with a stable code."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
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

logger = logging.getLogger("signalml.problems")
PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 1
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# RFC 9110's names, where Python before 3.13 still has older ones: an answer does not depend on the interpreter.
RENAMED_STATUSES = {413: "Content Too Large", 422: "Unprocessable Content"}
FRAMEWORK_CODES = {
    400: "request_refused",
    404: "route_not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


def build_problem(status: int, code: str, detail: str) -> Problem:
    """The body of an error answer."""
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


def problem_of_error(error: SignalMLError) -> Problem:
    """The body of the answer to one of the project's own errors."""
    return build_problem(status_of(type(error)), error.code, str(error))


def problem_response(body: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The error answer, with the headers that belong to its status."""
    extra = dict(headers or {})
    if body.status == 503:
        extra.setdefault("Retry-After", str(RETRY_AFTER_S))
    if body.status == 401:
        extra.setdefault("WWW-Authenticate", 'ApiKey realm="signalml"')
    return JSONResponse(body.model_dump(), body.status, extra, media_type=PROBLEM_JSON)


def error_responses(*kinds: type[SignalMLError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the errors that a route can answer with: one per status, an example per code."""
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
    """Make every error that leaves ``app`` a problem+json."""
    app.add_exception_handler(SignalMLError, _on_signalml_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


async def _on_signalml_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SignalMLError)  # noqa: S101 - Starlette's own dispatch guarantees it; this tells the types
    services_of(request).metrics.count_refusal(error.code)
    return problem_response(problem_of_error(error))


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    # FastAPI turns whatever goes wrong while it reads a JSON body into a 400; the cause has the right status.
    if isinstance(error.__cause__, SignalMLError):
        return await _on_signalml_error(request, error.__cause__)
    if error.status_code == 400 and error.__cause__ is not None:
        return await _on_signalml_error(request, InvalidRequest(f"The body cannot be read as JSON: {error.__cause__}"))
    code = FRAMEWORK_CODES.get(error.status_code, "request_refused")
    details = {
        404: f"There is nothing at {request.url.path}; /docs lists what there is.",
        405: f"{request.method} is not allowed at {request.url.path}.",
    }
    services_of(request).metrics.count_refusal(code)
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(_allowed(request))
    return problem_response(
        build_problem(error.status_code, code, details.get(error.status_code, str(error.detail))), headers
    )


def _allowed(request: Request) -> list[str]:
    """The methods that are there at the request's path: the framework names those of its first route alone."""
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    if error.body is not None and "json" not in request.headers.get("content-type", ""):
        return await _on_signalml_error(
            request, InvalidRequest("The body is not sent as Content-Type: application/json.")
        )
    said = explain_errors(error.errors(), error.body, RouteInputs.of(request).json_fields)
    return await _on_signalml_error(request, InvalidRequest(said))


async def _on_disconnect(_request: Request, _error: Exception) -> JSONResponse:
    """Nobody is there to read this; it keeps a client's hanging up from being logged as a bug."""
    return problem_response(
        build_problem(400, "client_disconnected", "The client went away before its request was complete.")
    )


class UnhandledErrorMiddleware:
    """ASGI middleware: what nobody foresaw is logged under the request's id; the client is told nothing of the inside.

    Starlette's own stands outside of all middleware, where the id is no longer known.
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
        except Exception:  # the last stop before the server: what is not foreseen is logged and answered here
            logger.exception("unforeseen")
            if started or scope["type"] != "http":
                raise  # half an answer is out: only closing the connection tells the client
            detail = "Something went wrong here; the log has it under this request_id."
            await problem_response(build_problem(500, "internal_error", detail))(scope, receive, send)
