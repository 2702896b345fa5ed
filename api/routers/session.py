"""Routes of the session of a browser: log in with an API key, see what it allows, log out."""

import asyncio

from fastapi import APIRouter, Request, Response

from api.api_keys import LOCAL, ApiKey
from api.browser_sessions import COOKIE, BrowserSession
from api.dependencies import RejectUnknownParameters, ServicesDep
from api.errors import BODY_ERRORS, CLIENT_ERRORS, V1_ERRORS, ApiKeyExpired, MissingApiKey, UnknownParameter
from api.problems import error_responses
from api.schemas.session import Login, Session
from api.security import AuthFirstRoute, KeyDep, actor_of, find_valid_key
from ml import errors
from ml.system.audit import acting_as

router = APIRouter(
    prefix="/v1/session",
    tags=["session"],
    dependencies=[RejectUnknownParameters],
    route_class=AuthFirstRoute,
)


@router.post(
    "",
    summary="Log in",
    responses=error_responses(
        *CLIENT_ERRORS, *BODY_ERRORS, UnknownParameter, MissingApiKey, ApiKeyExpired, errors.StorageFull
    ),
)
async def log_in(login: Login, request: Request, response: Response, services: ServicesDep) -> Session:
    """Exchange an API key for a session of this browser, as a cookie that scripts cannot read.

    The session ends after `SIGNALML_SESSION_HOURS`, when somebody logs out, and when the key is revoked or expires.
    Programs send the key with each request and need no session. A service that requires no keys sets no cookie.
    """
    if not services.settings.require_api_key:
        return _shown(services.settings.require_api_key, LOCAL, None)
    key = await asyncio.to_thread(find_valid_key, request, services, login.api_key)
    with acting_as(actor_of(request, key)):
        cookie, session = await asyncio.to_thread(services.sessions.begin, key)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(services.settings.session_hours * 3600),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return _shown(True, key, session)


@router.get("", summary="Show who asks", responses=error_responses(*V1_ERRORS))
async def show_session(request: Request, services: ServicesDep, key: KeyDep) -> Session:
    """Show the name, the scopes and the bindings of the key that the session or the request has."""
    cookie = request.cookies.get(COOKIE)
    is_session = getattr(request.state, "session", None) is not None and cookie is not None
    session = await asyncio.to_thread(services.sessions.find, cookie) if is_session and cookie else None
    return _shown(services.settings.require_api_key, key, session)


@router.delete("", summary="Log out", status_code=204, responses=error_responses(*V1_ERRORS, errors.StorageFull))
async def log_out(request: Request, response: Response, services: ServicesDep, key: KeyDep) -> None:
    """End the session of this browser. Without one, nothing happens."""
    if cookie := request.cookies.get(COOKIE):
        await asyncio.to_thread(services.sessions.end, cookie, key.name)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")


def _shown(login_required: bool, key: ApiKey, session: BrowserSession | None) -> Session:
    return Session(
        login_required=login_required,
        name=key.name,
        scopes=list(key.scopes),
        machines=list(key.machines),
        datasets=list(key.datasets),
        expires=None if session is None else session.expires,
    )
