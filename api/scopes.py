"""Scopes of API keys, and the scope that each route needs: the only table of both.

A key has a set of scopes. ``admin`` includes every other scope; no other scope includes another one. The same table is
in the OpenAPI schema, and ``docs/security.md`` has a copy that a test compares.
"""

from collections.abc import Mapping
from typing import Literal, get_args

Scope = Literal["predict", "read", "label", "train", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
MEANINGS: Mapping[Scope, str] = {
    "predict": "Get verdicts, which are added to the record of a machine, and report events of another device.",
    "read": "Read models, thresholds, reports, datasets with their audio, jobs with their results, machines, events "
    "with their sound, and sources with their live sound.",
    "label": "Create datasets, upload recordings, label them, acknowledge alarms, and review events.",
    "train": "Submit and cancel jobs. A retraining can promote its candidate by the rule of `if-better`, and a "
    "recalibration moves a threshold.",
    "admin": "Everything: also promote and change models, remove recordings, datasets, machines and models, change "
    "sources, and read and change sinks.",
}
# Scope of each route; None: every key may use it. A route that is not here needs admin, so a forgotten route is closed
# and not open.
ROUTE_SCOPES: Mapping[str, Scope | None] = {
    "GET /v1/session": None,
    "DELETE /v1/session": None,
    "POST /inference": "predict",
    "POST /v1/predict": "predict",
    "POST /v1/predict/batch": "predict",
    "POST /v1/features": "predict",
    "GET /v1/models": "read",
    "GET /v1/models/{version}": "read",
    "GET /v1/models/{version}/report": "read",
    "DELETE /v1/models/{version}": "admin",
    "PUT /v1/models/aliases/{alias}": "admin",
    "PATCH /v1/models/{version}/labels": "admin",
    "GET /v1/models/{version}/threshold": "read",
    "GET /v1/models/{version}/threshold/preview": "read",
    "PATCH /v1/models/{version}/threshold": "admin",
    "GET /v1/datasets": "read",
    "POST /v1/datasets": "label",
    "GET /v1/datasets/{name}": "read",
    "DELETE /v1/datasets/{name}": "admin",
    "GET /v1/datasets/{name}/sessions": "read",
    "GET /v1/datasets/{name}/recordings": "read",
    "POST /v1/datasets/{name}/recordings": "label",
    "GET /v1/datasets/{name}/recordings/{recording}": "read",
    "DELETE /v1/datasets/{name}/recordings/{recording}": "admin",
    "PATCH /v1/datasets/{name}/recordings/{recording}": "label",
    "GET /v1/datasets/{name}/recordings/{recording}/audio": "read",
    "GET /v1/datasets/{name}/recordings/{recording}/features": "read",
    "POST /v1/jobs/feature-extraction": "train",
    "POST /v1/jobs/scoring": "train",
    "POST /v1/jobs/retraining": "train",
    "POST /v1/jobs/recalibration": "train",
    "POST /v1/jobs/diagnostic": "train",
    # A name that is no kind of job; the route is not in the schema.
    "POST /v1/jobs/{kind}": "train",
    "GET /v1/jobs": "read",
    "GET /v1/jobs/{job}": "read",
    "DELETE /v1/jobs/{job}": "train",
    "GET /v1/jobs/{job}/events": "read",
    "GET /v1/jobs/{job}/result": "read",
    "GET /v1/machines": "read",
    "GET /v1/machines/{machine_id}/health": "read",
    "GET /v1/machines/{machine_id}/scores": "read",
    "POST /v1/machines/{machine_id}/acknowledge": "label",
    "DELETE /v1/machines/{machine_id}": "admin",
    "GET /v1/events": "read",
    "POST /v1/events": "predict",
    "GET /v1/events/stream": "read",
    "GET /v1/events/{event}": "read",
    "PATCH /v1/events/{event}": "label",
    "GET /v1/events/{event}/clip": "read",
    "GET /v1/events/{event}/spectrogram": "read",
    "POST /v1/events/{event}/recording": "label",
    # A source lets the computer read a folder or an address of its network.
    "GET /v1/sources": "read",
    "POST /v1/sources": "admin",
    "GET /v1/sources/{source}": "read",
    "PATCH /v1/sources/{source}": "admin",
    "DELETE /v1/sources/{source}": "admin",
    "GET /v1/sources/{source}/live": "read",
    "GET /v1/sources/{source}/sound": "read",
    # Addresses of receivers can be secrets themselves, and a test connects to them.
    "GET /v1/sinks": "admin",
    "POST /v1/sinks": "admin",
    "GET /v1/sinks/{sink}": "admin",
    "PATCH /v1/sinks/{sink}": "admin",
    "DELETE /v1/sinks/{sink}": "admin",
    "POST /v1/sinks/{sink}/test": "admin",
    "POST /v1/sinks/{sink}/mute": "admin",
    "GET /v1/sinks/{sink}/dead": "admin",
    "POST /v1/sinks/{sink}/dead/resend": "admin",
}
# Routes that need no key: the login, programs that watch the service, and the page at / with its documentation.
OPEN_ROUTES = frozenset({"GET /", "GET /livez", "GET /readyz", "GET /metrics", "POST /v1/session"})


def scope_of(method: str, path: str) -> Scope | None:
    """Return the scope that a route needs; None if any key may use it.

    Args:
        method: method of the request.
        path: path of the route, with the names of its parameters in braces; a slash at its end does not count.

    >>> scope_of("POST", "/inference/"), scope_of("GET", "/v1/new")
    ('predict', 'admin')
    """
    return ROUTE_SCOPES.get(f"{method} {path.rstrip('/')}", "admin")


def render_table() -> str:
    """Return the table of all routes and their scopes, in Markdown."""
    rows = [
        f"| `{route}` | {'any' if scope is None else f'`{scope}`'} |\n"
        for route, scope in ROUTE_SCOPES.items()
        if route != "POST /v1/jobs/{kind}"
    ]
    return "| route | scope |\n| --- | --- |\n" + "".join(rows)
