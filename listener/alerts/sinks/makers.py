"""Which sender serves a sink."""

from collections.abc import Callable
from typing import NamedTuple

from listener.alerts.outbox import Outbox
from listener.alerts.sinks.email import EmailSender
from listener.alerts.sinks.mqtt import MqttSender
from listener.alerts.sinks.sender import Sender
from listener.alerts.sinks.service import ServiceSender
from listener.alerts.sinks.webhook import WebhookSender
from listener.config.sink_types import EmailSink, MqttSink, ServiceSink, Sink, WebhookSink
from listener.events.store import EventStore


class SenderContext(NamedTuple):
    """What senders need apart from their sink.

    Attributes:
        device_name: name of this device.
        store: the events.
        outbox: alerts, and what sinks remember.
    """

    device_name: str
    store: EventStore
    outbox: Outbox


def make_sender(sink: Sink, context: SenderContext, on_return: Callable[[], None]) -> Sender:
    """Return a sender for a sink.

    Args:
        sink: the sink.
        context: what it needs.
        on_return: to be called when a receiver that was away is back.

    Raises:
        MissingExtra: a package is not installed.
    """
    match sink:
        case WebhookSink():
            return WebhookSender(sink)
        case MqttSink():
            return MqttSender(sink, context.store, context.outbox, on_return)
        case EmailSink():
            return EmailSender(sink, context.device_name)
        case ServiceSink():
            return ServiceSender(sink, context.outbox, context.device_name)
