"""Webhooks as the specification Standard Webhooks 1.0 describes them.

The body is JSON: ``{"id", "type", "timestamp", "data"}``. The headers ``webhook-id``, ``webhook-timestamp`` and, with a
secret, ``webhook-signature`` let the receiver check it and recognise a second delivery.
"""

import base64
import hashlib
import hmac
import time

from listener.alerts.alert_message import AlertMessage
from listener.alerts.sinks.http_request import HttpRequest
from listener.alerts.sinks.sender import Sender
from listener.config.sink_types import WebhookSink


class WebhookSender(Sender):
    """Sender of a webhook. A status from 200 to 299 is an acknowledgement."""

    def __init__(self, sink: WebhookSink) -> None:
        self._sink = sink
        self._request: HttpRequest | None = None

    def deliver(self, message: AlertMessage) -> None:
        """Send a message with POST."""
        body, sink = message.to_json(), self._sink
        headers = {"Content-Type": "application/json", "Accept": "*/*"} | self._webhook_headers(message.id, body)
        self._request = HttpRequest(sink.url, sink.timeout_s, sink.allow_private)
        answer = self._request.send("POST", body, headers, "The receiver")
        if not answer.is_success:
            raise answer.error("The receiver")

    def interrupt(self) -> None:
        """Close the connection of a delivery."""
        if self._request is not None:
            self._request.interrupt()

    def _webhook_headers(self, message_id: str, body: bytes) -> dict[str, str]:
        now = str(int(time.time()))
        headers = {"webhook-id": message_id, "webhook-timestamp": now}
        if self._sink.secret is not None:
            headers["webhook-signature"] = sign(self._sink.secret.get_secret_value(), message_id, now, body)
        return headers


def sign(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a message: ``v1,`` and HMAC-SHA256 of ``id.timestamp.body`` in base64.

    Args:
        secret: ``whsec_`` and the key in base64.
        message_id: id of the message.
        timestamp: time of the attempt, whole seconds since 1970.
        body: content of the request.

    Example:
        >>> sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330",
        ...      b'{"test": 2432232314}')
        'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"
