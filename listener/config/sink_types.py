"""Types of sinks and their rules, with the checks of their values."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_validator, model_validator

from listener.config.entry import HOURS, MQTT_SCHEMES, WEB_SCHEMES, Entry, check_secret, check_url

MAIL_SCHEMES = ("smtp", "smtps")


class Rules(BaseModel):
    """Which alerts a sink gets, and when."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    machines: tuple[str, ...] = ("*",)
    """Machines, as names or patterns such as `hall-3/*`."""
    changes: tuple[Literal["began", "worsened", "ended", "interrupted"], ...] = (
        "began",
        "worsened",
        "ended",
        "interrupted",
    )
    """Changes of an event that are sent."""
    min_duration_s: float = Field(default=0.0, ge=0, le=86_400)
    """Seconds that an event must last before it is sent."""
    quiet_hours: tuple[str, ...] = ()
    """Local hours without alerts, such as `22:00-06:00`. Alerts wait until their end; events that ended meanwhile are
    sent as one digest."""
    cooldown_s: float = Field(default=0.0, ge=0, le=86_400)
    """Seconds after an event of a machine in which further ones of it are not sent, unless they are worse."""
    digest_above: int = Field(default=20, ge=1, le=10_000)
    """Number of alerts within a minute above which the further ones are sent as one digest."""
    give_up_h: float = Field(default=72.0, gt=0, le=8760)
    """Hours after which an alert that cannot be delivered is given up."""

    @model_validator(mode="after")
    def _check(self) -> "Rules":
        for hours in self.quiet_hours:
            if HOURS.fullmatch(hours) is None:
                raise ValueError(f"{hours!r} is not a range of hours; 22:00-06:00 or Sat-Sun 00:00-24:00 was expected")
        return self


class EmailRules(Rules):
    """Rules of e-mail: by default, one message for each alarm."""

    changes: tuple[Literal["began", "worsened", "ended", "interrupted"], ...] = ("began",)
    """Changes of an event that are sent. Without more, one message for each alarm."""


class SinkEntry(Entry):
    """Fields of every sink."""

    rules: Rules = Rules()
    """Which alerts it gets, and when."""
    muted_until: str | None = None
    """Time until which it gets no alerts, ISO 8601; local time without a zone. Events that ended meanwhile are never
    sent."""

    @field_validator("muted_until")
    @classmethod
    def _check_time(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                datetime.fromisoformat(value)
            except ValueError as error:
                raise ValueError(f"{value!r} is not a time; 2026-11-29T22:00:00+01:00 was expected") from error
        return value


class WebhookSink(SinkEntry):
    """HTTP POST of each alert, signed as Standard Webhooks."""

    kind: Literal["webhook"] = "webhook"
    url: Annotated[str, Field(max_length=2000, examples=["https://example.org/hook"])]
    """Address of the receiver, http or https."""
    secret: SecretStr | None = None
    """Key of the signature: `whsec_` and base64 of 24 to 64 bytes."""
    allow_private: bool = False
    """Whether the address may be of a private network or this computer."""
    timeout_s: float = Field(default=10.0, ge=1, le=60)
    """Seconds for one attempt."""

    @model_validator(mode="after")
    def _check(self) -> "WebhookSink":
        check_url(self.url, WEB_SCHEMES)
        check_secret(self.secret)
        return self


class MqttSink(SinkEntry):
    """MQTT broker, also with the discovery of Home Assistant."""

    kind: Literal["mqtt"] = "mqtt"
    url: Annotated[str, Field(max_length=2000, examples=["mqtt://broker:1883"])]
    """Broker: mqtt:// or mqtts://, with user and password if it needs them."""
    topic: Annotated[str, Field(pattern=r"^[^+#\x00]{1,200}$")] = "signalml"
    """First part of all topics."""
    home_assistant: bool = False
    """Whether to announce each machine as a device of Home Assistant."""
    discovery_topic: Annotated[str, Field(pattern=r"^[^+#\x00]{1,200}$")] = "homeassistant"
    """First part of the topics of the discovery."""

    @model_validator(mode="after")
    def _check(self) -> "MqttSink":
        check_url(self.url, MQTT_SCHEMES)
        return self


class EmailSink(SinkEntry):
    """E-mail by SMTP with TLS, one message for each alarm."""

    kind: Literal["email"] = "email"
    server: Annotated[str, Field(max_length=2000, examples=["smtps://mail.example.org"])]
    """Server: `smtp://` with STARTTLS, or `smtps://`, with user and password if it needs them."""
    rules: EmailRules = EmailRules()
    """Which alerts it gets, and when."""
    sender: Annotated[
        str, Field(pattern=r"^[^@\s\r\n]+@[^@\s\r\n]+$", max_length=300, examples=["signalml@example.org"])
    ]
    """Address of the sender."""
    to: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[^@\s\r\n]+@[^@\s\r\n]+$", max_length=300)], ...],
        Field(min_length=1, max_length=50, examples=[["ana@example.org"]]),
    ]
    """Addresses of the receivers."""
    attach_clip: bool = True
    """Whether the clip is attached."""
    without_tls: bool = False
    """Whether `smtp://` sends without TLS: only for a server on this computer."""
    ca_file: str | None = None
    """File with the certificate authority of the server; by default, those of this computer."""

    @model_validator(mode="after")
    def _check(self) -> "EmailSink":
        check_url(self.server, MAIL_SCHEMES)
        return self


class ServiceSink(SinkEntry):
    """Another signalml service, to which events are reported with their clips."""

    kind: Literal["service"] = "service"
    url: Annotated[str, Field(max_length=2000, examples=["https://central.example.org"])]
    """Address of the service, http or https."""
    api_key: SecretStr | None = None
    """API key with the scope `predict`."""
    send_clips: bool = True
    """Whether clips are sent too."""
    timeout_s: float = Field(default=30.0, ge=1, le=300)
    """Seconds for one attempt."""

    @model_validator(mode="after")
    def _check(self) -> "ServiceSink":
        check_url(self.url, WEB_SCHEMES)
        return self


Sink = Annotated[WebhookSink | MqttSink | EmailSink | ServiceSink, Field(discriminator="kind")]
SINKS: TypeAdapter[Any] = TypeAdapter(Sink)
