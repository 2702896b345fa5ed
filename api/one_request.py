"""A change that is done once for an Idempotency-Key, for routes whose change is neither a job nor a verdict."""

from typing import Annotated, Self

from fastapi import Response

from api.idempotency_keys import idempotency_header
from api.settings import Settings
from ml.errors import IdempotencyConflict, MachinesUnavailable, StorageFull
from ml.machines.ledger import Ledger
from ml.machines.observation import KeyedRequest
from ml.system.idempotency import digest_of_request, require_same_request

REPLAYED = "Idempotent-Replayed"  # header of the answer to a repeated request
ONE_REQUEST_ERRORS = (IdempotencyConflict, MachinesUnavailable, StorageFull)
RequestKey = Annotated[
    str | None,
    idempotency_header(
        "For a day, the same request with the same key changes nothing again, also if something else was changed "
        f"meanwhile; its answer has the present state, and the header `{REPLAYED}: true`."
    ),
]


class OneRequest:
    """Context of a change: its key is kept if the change succeeds, and not if it raises.

    Args:
        settings: home of the record of machines, which keeps the keys.
        key: Idempotency-Key; None without one, and then nothing is kept.
        response: its headers state whether the request was done before.
        parts: what makes the request this one: its route and its body.
    """

    def __init__(self, settings: Settings, key: str | None, response: Response, *parts: str) -> None:
        self._home = settings.home
        self._response = response
        self._request = None if key is None else KeyedRequest(key, digest_of_request(parts))
        self.done_before = False
        """Whether the same request with this key was done within the last day."""

    def __enter__(self) -> Self:
        """Look for the key.

        Raises:
            IdempotencyConflict: it was used for another request.
        """
        if self._request is not None:
            with Ledger(self._home) as ledger:
                known = ledger.find_request(self._request.key)
            self.done_before = require_same_request(known, self._request.digest)
            if self.done_before:
                self._response.headers[REPLAYED] = "true"
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if self._request is not None and error is None and not self.done_before:
            with Ledger(self._home, create=True) as ledger:
                ledger.remember_request(self._request)
