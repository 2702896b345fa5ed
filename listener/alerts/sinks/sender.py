"""What every sender does, and how a sender is made for a sink."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from listener.alerts.alert_message import AlertMessage
from listener.config.entry import HIDDEN
from listener.config.sink_types import Sink
from listener.status import SourceStatus


class Sender:
    """Sender of the alerts of one sink. One thread at a time uses it."""

    def start(self) -> None:
        """Begin to connect, if the sink needs a connection. Returns at once."""

    def deliver(self, message: AlertMessage) -> None:
        """Send a message, and wait until the receiver has acknowledged it.

        Raises:
            DeliveryFailed: it was not acknowledged; the message has no secret.
            MissingExtra: a package is not installed.
        """
        raise NotImplementedError

    def publish_states(self, statuses: Sequence[SourceStatus]) -> None:
        """Take the states of the sources, if the sink has a place for them."""

    def tick(self) -> None:
        """Do what is due beside alerts. Called about twice a second; returns soon."""

    def interrupt(self) -> None:
        """Make a delivery of another thread fail soon: the listener stops."""

    def stop(self, removed: bool = False) -> None:
        """Close the connection.

        Args:
            removed: whether the sink was removed from the configuration.
        """


def hide_secrets(text: str, sink: Sink) -> str:
    """Return a text without the secrets of a sink: the last check before a log or an answer.

    No message of this package contains one; messages of libraries and servers could.
    """
    for secret in sorted(_secrets(sink), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _secrets(sink: Sink) -> set[str]:
    """Return secrets in every form in which they are used."""
    found: set[str] = set()
    values: dict[str, Any] = dict(sink)
    for value in values.values():
        if isinstance(value, SecretStr):
            found.add(value.get_secret_value())
    for address in (values.get("url"), values.get("server")):
        parts = urlsplit(address or "")
        if parts.query:
            found.add(parts.query)
        if parts.password:
            user, password = unquote(parts.username or ""), unquote(parts.password)
            found |= {parts.password, password, repr(password)[1:-1]}
            found |= {b64encode(each.encode()).decode() for each in (f"{user}:{password}", f"\0{user}\0{password}")}
    return {each for each in found if each}
