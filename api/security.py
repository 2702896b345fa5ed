"""Access control by API keys: who asks, and whether the key allows it.

Every route of the API is an :class:`AuthFirstRoute`. It finds the scope of the route in :mod:`api.scopes` and checks
the key before anything of the body is read. The binding to the dataset of the path is checked with it. A route checks
the name of a machine, or of a dataset in a body, with :func:`check_machine_binding` and
:func:`check_dataset_binding`.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Annotated, Any, NoReturn

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from api.api_keys import LOCAL, SHOWN_DIGEST, ApiKey, digest_of
from api.browser_sessions import COOKIE
from api.errors import (
    ApiKeyExpired,
    InvalidRequest,
    MissingApiKey,
    MissingApiKeyScope,
    OriginNotAllowed,
    OutOfBinding,
    RequestError,
    SessionEnded,
)
from api.event_streams import StreamEvent
from api.json_bodies import StrictJsonRequest
from api.scopes import OPEN_ROUTES, Scope, scope_of
from api.services import Services, services_of
from ml.errors import SignalMLError
from ml.system.audit import Actor, acting_as, record_change

logger = logging.getLogger("signalml.keys")
HEADER = "X-API-Key"
# Methods that change something. Verdicts are not in the audit log, although they are sent with POST.
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class AuthFirstRoute(APIRoute):
    """Route that checks the key first; FastAPI would read a JSON body before any dependency.

    A request that may change something is in the audit log: by the functions that make the change or, if none of them
    has recorded one, by its route, with the outcome.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler of the route, behind the check of the key."""
        answer = super().get_route_handler()

        async def check_and_answer(request: Request) -> Response:
            if f"{request.method} {self.path_format}" in OPEN_ROUTES:
                return await answer(StrictJsonRequest(request.scope, request.receive))
            scope = scope_of(request.method, self.path_format)
            key = authorize(request, scope)
            request = StrictJsonRequest(request.scope, request.receive)
            if scope == "predict" or request.method not in CHANGING:
                return await answer(request)
            with acting_as(actor_of(request, key)) as actor:
                return await _audited(request, self.path_format, actor, answer)

        return check_and_answer


def authorize(request: Request, scope: Scope | None) -> ApiKey:
    """Check the key of a request, and keep it for :func:`current_key`.

    Args:
        request: the request.
        scope: scope that its route needs; None if any key may use it.

    Raises:
        MissingApiKey, ApiKeyExpired, SessionEnded, MissingApiKeyScope, OutOfBinding, OriginNotAllowed
    """
    services = services_of(request)
    request.state.key = key = _find_key(request, services) if services.settings.require_api_key else LOCAL
    if scope is not None and not key.allows(scope):
        scopes = ", ".join(key.scopes)
        detail = f"The API key {key.name!r} has the scope {scopes}; this route needs {scope}."
        _refuse(request, MissingApiKeyScope(detail), key.name)
    if "name" in request.path_params:  # of a dataset, in every route that has it
        check_dataset_binding(request, request.path_params["name"])
    if "machine_id" in request.path_params:
        _check_path_machine(request, services, request.path_params["machine_id"])
    return key


async def current_key(request: Request) -> ApiKey:
    """Return the key of a request that was authorized; without required keys, one that allows everything."""
    key: ApiKey = request.state.key
    return key


KeyDep = Annotated[ApiKey, Depends(current_key)]


def check_machine_binding(request: Request, machine_id: str) -> None:
    """Check the binding of the request's key.

    Args:
        request: the request.
        machine_id: name of the machine's record.

    Raises:
        OutOfBinding
    """
    key: ApiKey = request.state.key
    if not key.reaches_machine(machine_id):
        bound = ", ".join(key.machines) or "no machine"
        detail = f"The API key {key.name!r} is bound to {bound}; {machine_id!r} is another machine."
        _refuse(request, OutOfBinding(detail), key.name)


def check_dataset_binding(request: Request, name: str | None) -> None:
    """Check the binding of the request's key.

    Args:
        request: the request.
        name: name of the dataset; None for a job without a dataset.

    Raises:
        OutOfBinding
    """
    key: ApiKey = request.state.key
    if not key.reaches_dataset(name):
        bound = ", ".join(key.datasets) or "no dataset"
        found = "this work has no dataset" if name is None else f"{name!r} is another dataset"
        _refuse(request, OutOfBinding(f"The API key {key.name!r} is bound to {bound}; {found}."), key.name)


def require_unbound(request: Request, what: str) -> None:
    """Refuse a key with bindings, for content that belongs to no single machine or dataset.

    Raises:
        OutOfBinding
    """
    key: ApiKey = request.state.key
    if key.is_bound:
        _refuse(request, OutOfBinding(f"The API key {key.name!r} has bindings; {what}."), key.name)


def require_admin(request: Request, what: str) -> None:
    """Check that the request's key has the scope admin, for a request that only some values make dangerous.

    Raises:
        MissingApiKeyScope
    """
    key: ApiKey = request.state.key
    if not key.allows("admin"):
        _refuse(request, MissingApiKeyScope(f"The API key {key.name!r} has no scope admin; {what} needs it."), key.name)


def is_still_valid(services: Services, key: ApiKey, cookie: str | None = None) -> bool:
    """Return whether a key that was accepted earlier still exists and has not expired, for answers that last long.

    Args:
        services: the services.
        key: the key.
        cookie: cookie of the session that stands for the key; None without one.
    """
    if cookie is not None and services.sessions.find(cookie) is None:
        return False
    return key is LOCAL or (key in services.keys.list_keys() and not key.has_expired())


async def until_revoked(
    events: AsyncGenerator[StreamEvent | None], services: Services, request: Request
) -> AsyncIterator[StreamEvent | None]:
    """Pass the events of a stream on while the key, or the session, of its request is valid.

    The stream yields at least once a second.
    """
    cookie = request.cookies.get(COOKIE) if getattr(request.state, "session", None) else None
    async with aclosing(events):
        async for event in events:
            if not await asyncio.to_thread(is_still_valid, services, request.state.key, cookie):
                return
            yield event


def _check_path_machine(request: Request, services: Services, requested: str) -> None:
    """Refuse a machine if neither the requested name nor the detector's name for it is reached.

    The record has one of these names; the route checks that one.
    """
    key: ApiKey = request.state.key
    model = services.live_model.current
    known = None if model is None else model.resolve_machine(requested)
    if not any(key.reaches_machine(name) for name in (requested, known) if name is not None):
        check_machine_binding(request, requested)


def _find_key(request: Request, services: Services) -> ApiKey:
    secret, cookie = request.headers.get(HEADER), request.cookies.get(COOKIE)
    if not secret and not cookie:
        _refuse(request, MissingApiKey(f"The request has no API key; one is expected in the header {HEADER}."), None)
    return find_valid_key(request, services, secret) if secret else _key_of_session(request, services, cookie or "")


def _key_of_session(request: Request, services: Services, cookie: str) -> ApiKey:
    """Return the key of the session of a browser.

    A form of another page has the cookie only where the browser takes that page for one of this site; the browser then
    states the page in ``Origin``, which :mod:`api.hosts` checks.
    """
    session = services.sessions.find(cookie)
    keys = [] if session is None else [key for key in services.keys.list_keys() if key.sha256 == session.key]
    if not keys or keys[0].has_expired():
        _refuse(request, SessionEnded("The session has ended, or its API key was revoked: log in again."), None)
    if request.method in CHANGING and "origin" not in request.headers:
        detail = "A request with a session may change something only from a page of this service; it has no Origin."
        _refuse(request, OriginNotAllowed(detail), keys[0].name)
    request.state.session = session
    return keys[0]


def find_valid_key(request: Request, services: Services, secret: str) -> ApiKey:
    """Return the key with a secret.

    Raises:
        MissingApiKey: there is none.
        ApiKeyExpired
    """
    key = services.keys.find(secret)
    if key is None:
        digest = f"sha256:{digest_of(secret)[:SHOWN_DIGEST]}"
        _refuse(request, MissingApiKey("The API key is unknown or was revoked."), digest)
    if key.has_expired():
        detail = f"The API key {key.name!r} has expired at {key.expires}; create a new one."
        _refuse(request, ApiKeyExpired(detail), key.name)
    return key


def _refuse(request: Request, error: RequestError, key: str | None) -> NoReturn:
    """Count and log a refusal, with the name of the key or the beginning of its hash, never its secret."""
    services_of(request).metrics.count_failed_authentication(error.code)
    facts = {"code": error.code, "key": key, "client": _address(request), "method": request.method}
    logger.warning("refused", extra={"facts": facts | {"path": request.url.path}})
    raise error


def actor_of(request: Request, key: ApiKey) -> Actor:
    """Return who makes the changes of a request, for the audit log."""
    return Actor("local" if key is LOCAL else "key", key.name, _address(request))


def _address(request: Request) -> str | None:
    return None if request.client is None else request.client.host


async def _audited(
    request: Request, path: str, actor: Actor, answer: Callable[[Request], Coroutine[Any, Any, Response]]
) -> Response:
    """Answer a request, and record it if no function below has recorded its change."""
    try:
        response = await answer(request)
    except Exception as error:  # recorded, and answered where all errors are
        _record_request(request, path, _code(error))
        raise
    if actor.n_changes == 0:
        _record_request(request, path, "done")
    return response


def _record_request(request: Request, path: str, outcome: str) -> None:
    home = services_of(request).settings.home
    record_change(home, f"{request.method} {path}", request.url.path, outcome=outcome)


def _code(error: Exception) -> str:
    if isinstance(error, SignalMLError):
        return error.code
    return InvalidRequest.code if isinstance(error, RequestValidationError) else "internal_error"
