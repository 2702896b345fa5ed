"""Schemas of sources and sinks of live listening, and of alerts that were given up."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, TypeAlias, get_args

from fastapi.openapi.models import Example
from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel, SecretStr, create_model, model_validator
from pydantic.fields import FieldInfo

from api.schemas.common import ModelVersion, RequestSchema, Schema, Share, Timestamp
from api.schemas.events import EventId
from api.schemas.machines import MachineState
from api.schemas.times import Time
from listener.config.entry import Entry
from listener.config.sink_types import EmailSink, MqttSink, ServiceSink, Sink, WebhookSink
from listener.config.source_types import DeviceSource, FolderSource, MqttSource, PipeSource, Source, StreamSource
from listener.sound import SourceState
from ml.models.verdict import VerdictValue

SOURCE_KINDS: tuple[type[Entry], ...] = (DeviceSource, StreamSource, FolderSource, PipeSource, MqttSource)
SINK_KINDS: tuple[type[Entry], ...] = (WebhookSink, MqttSink, EmailSink, ServiceSink)
ShownState = Literal[SourceState, "not_listening"]
SinkState = Literal["delivering", "muted", "disabled", "not_listening"]


class SourceFacts(Schema):
    """Counters and last verdict of a source since the start of the listener."""

    since: str = Field(examples=["2026-11-22T21:46:09.123+00:00"])
    """Time of the last change of the state, ISO 8601, UTC."""
    last_sound_at: Timestamp | None
    """Time of the last sound; null without any."""
    level_dbfs: float | None = Field(examples=[-41.2])
    """Level of the last tenth of a second, in dBFS; null without sound."""
    sample_rate_hz: int | None = Field(examples=[16000])
    drift_ppm: float | None = Field(examples=[12.5])
    """Difference of the source's clock from this computer's, in millionths; null if it is not known yet."""
    gaps: int = Field(ge=0, examples=[0])
    """Number of gaps."""
    gap_seconds: float = Field(ge=0, examples=[0.0])
    """Total length of the gaps, in seconds."""
    dropped_seconds: float = Field(ge=0, examples=[0.0])
    """Sound that was dropped because the computer was too slow, in seconds."""
    starts: int = Field(ge=0, examples=[1])
    """Number of starts of the program that reads it."""
    clips_judged: int = Field(ge=0, examples=[1312])
    clips_skipped: int = Field(ge=0, examples=[0])
    """Clips that were left out because the computer was too slow."""
    recordings_refused: int = Field(ge=0, examples=[0])
    """Recordings that could not be read."""
    score: Share | None = Field(examples=[0.21])
    """Score of the last verdict; null before the first one."""
    threshold: Share | None = Field(examples=[0.5])
    verdict: VerdictValue | None = Field(examples=["normal"])
    judged_at: Timestamp | None
    machine_state: MachineState | None
    """State of the machine's alarm; null before the first verdict."""
    version: ModelVersion | None
    """Model version of the last verdict."""
    event: EventId | None
    """Event of this machine that goes on; null without one."""


class SourceNow(Schema):
    """State of a source, which follows its own fields in an answer."""

    state: ShownState = Field(examples=["listening"])
    """`starting`: it has sent nothing yet; `listening`: sound arrives; `no_data`: no bytes since its start; `stalled`:
    bytes arrived and then stopped; `silent`: every sample has the same value; `wrong_rate`: bytes arrive faster or
    slower than the sample rate; `waiting`: by its schedule the machine does not run; `failed`: it ended, or
    cannot start; `no_model`: there is no model to judge it; `disabled`: it is switched off; `not_listening`: no
    listener runs."""
    cause: str = Field(examples=[""])
    """Reason for this state, as the tool gave it; empty without one."""
    status: SourceFacts | None
    """Counters and last verdict; null if no listener runs."""


class SinkFacts(Schema):
    """Alerts of a sink."""

    waiting: int = Field(ge=0, examples=[0])
    """Alerts that are not delivered yet."""
    dead: int = Field(ge=0, examples=[0])
    """Alerts that were given up and can be sent again."""
    delivered: int = Field(ge=0, examples=[31])
    """Alerts that were delivered since the start of the listener; 0 without one."""
    last_delivered_at: Timestamp | None
    last_error: str | None = Field(examples=[None])
    """Why the last attempt failed; null after a delivery."""


class SinkNow(Schema):
    """State of a sink, which follows its own fields in an answer."""

    state: SinkState = Field(examples=["delivering"])
    """`delivering`; `muted`: until `muted_until`; `disabled`: it is switched off; `not_listening`: no listener runs."""
    cause: str = Field(examples=[""])
    """Reason for this state; empty without one."""
    status: SinkFacts


class ListenerNow(Schema):
    """Whether a listener runs."""

    running: bool = Field(examples=[True])
    started_at: Timestamp | None
    """Time of its start; null if none runs."""
    detail: str = Field(examples=[""])
    """How to start one; empty if one runs."""
    clip_bytes: int | None = Field(examples=[104857600])
    """Size of all clips of events, in bytes; null if no listener runs."""
    clips_dropped: int | None = Field(examples=[0])
    """Clips of events that could not be written, such as on a full disk; null if no listener runs."""


def _shown(entry: type[Entry], now: type[Schema]) -> type[BaseModel]:
    """Return the schema of an entry as answers show it: its fields without its checks, and its state."""
    fields = {name: (_shown_type(field), field) for name, field in entry.model_fields.items()}
    shown: type[BaseModel] = create_model(f"Shown{entry.__name__}", __base__=now, __doc__=entry.__doc__, **fields)  # type: ignore[call-overload]  # its fields are values
    return shown


def _shown_type(field: FieldInfo) -> Any:
    return str | None if SecretStr in get_args(field.annotation) else field.annotation


def _union(kinds: tuple[type[Entry], ...], now: type[Schema]) -> Any:
    """Return the type of an answer with an entry of one of these kinds."""
    first, *others = (_shown(kind, now) for kind in kinds)
    shown: Any = first
    for other in others:
        shown = shown | other
    return Annotated[shown, Field(discriminator="kind")]


if TYPE_CHECKING:
    ShownSource: TypeAlias = Any
    ShownSink: TypeAlias = Any
else:
    ShownSource, ShownSink = _union(SOURCE_KINDS, SourceNow), _union(SINK_KINDS, SinkNow)


class SourceList(Schema):
    """Sources, in the order of their file."""

    sources: list[ShownSource]
    problems: list[str] = Field(examples=[[]])
    """A sentence for each entry of the file that is not used. Empty for a key with bindings."""
    listener: ListenerNow


class SinkList(Schema):
    """Sinks, in the order of their file."""

    sinks: list[ShownSink]
    problems: list[str] = Field(examples=[[]])
    """A sentence for each entry of the file that is not used."""
    listener: ListenerNow


class DeadAlert(Schema):
    """Alert that was given up."""

    id: str = Field(examples=["019ac7d2f1e84c7b9a3e51d07f20-1294"])
    """Id of the alert, the same at each attempt."""
    event: str = Field(examples=["019ac7d2f1e84c7b9a3e51d07f20"])
    """Event; empty for a digest."""
    machine_id: str = Field(examples=["fan-3"])
    """Machine; empty for a digest."""
    change: str = Field(examples=["began"])
    """Change of the event, or `digest`."""
    created: Timestamp
    attempts: int = Field(ge=0, examples=[14])
    error: str = Field(examples=["The receiver answers 500."])
    """Why the last attempt failed."""


class DeadAlerts(Schema):
    """Alerts of a sink that were given up, the oldest first."""

    alerts: list[DeadAlert]
    total: int = Field(ge=0, examples=[1])
    """Number of all of them."""


class Resend(RequestSchema):
    """Alerts to send again."""

    alert: str | None = Field(default=None, max_length=100, examples=["019ac7d2f1e84c7b9a3e51d07f20-1294"])
    """Id of one alert; by default, all that were given up."""


class Resent(Schema):
    """Number of alerts that wait again."""

    alerts: int = Field(ge=0, examples=[1])


class Mute(Schema):
    """Time until which a sink gets no alerts."""

    until: Time | None
    """ISO 8601; null ends it now."""


class _Unchecked(RootModel[Any]):
    """Body whose schema is shown. :mod:`listener.config.files` checks its values: its sentences show no secrets."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("a JSON object was expected")
        return cls.model_construct(value)

    @property
    def values(self) -> dict[str, Any]:
        """Values as they were sent."""
        found: dict[str, Any] = self.root
        return found


def _change_schema(name: str, kinds: tuple[type[Entry], ...]) -> type[BaseModel]:
    """Return the schema of a change: the fields of all kinds, none of which must be there."""
    found = {field: facts for kind in kinds for field, facts in kind.model_fields.items() if field != "kind"}
    fields = {
        field: (Optional[facts.annotation], Field(None, description=facts.description))  # noqa: UP045 - of a value
        for field, facts in found.items()
    }
    change: type[BaseModel] = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)  # type: ignore[call-overload]  # as above
    return change


def _example(kind: str, **values: JsonValue) -> Example:
    return {"summary": kind, "value": {"name": "hall-3", "kind": kind, **values}}


SOURCE_EXAMPLES = {
    "device": _example("device", machine_id="fan-3", device="alsa:hw:CARD=USB,DEV=0"),
    "stream": _example("stream", machine_id="fan-3", url="rtsp://camera-7/audio"),
    "folder": _example("folder", machine_id="fan-3", path="inbox", after="move", move_to="done"),
    "pipe": _example("pipe", machine_id="fan-3", path="fifo", sample_rate_hz=16_000),
    "mqtt": _example("mqtt", machine_id="fan-3", url="mqtt://broker:1883", topic="nodes/7/audio"),
}
SINK_EXAMPLES = {
    "webhook": _example("webhook", url="https://example.org/hook", secret="whsec_" + "c2VjcmV0" * 4),
    "mqtt": _example("mqtt", url="mqtt://broker:1883", home_assistant=True),
    "email": _example(
        "email", server="smtps://mail.example.org", sender="signalml@example.org", to=["ana@example.org"]
    ),
    "service": _example("service", url="https://central.example.org", api_key="sml_..."),
}
SOURCE_EXAMPLE: dict[str, JsonValue] = {"name": "hall-3", "kind": "device", "machine_id": "fan-3"}
SINK_EXAMPLE: dict[str, JsonValue] = {"name": "hook", "kind": "webhook", "url": "https://example.org/hook"}


class SourceNew(_Unchecked):
    """New source. `kind` decides which fields it takes."""

    model_config = ConfigDict(json_schema_extra={"required": list(SOURCE_EXAMPLE), "example": SOURCE_EXAMPLE})
    root: Source


class SourceChange(_Unchecked):
    """Change of a source: fields of its kind. Null is the default of a field; what is left out does not change."""

    model_config = ConfigDict(json_schema_extra={"example": {}})
    root: _change_schema("SourceFields", SOURCE_KINDS)  # type: ignore[valid-type]  # made of the entries


class SinkNew(_Unchecked):
    """New sink. `kind` decides which fields it takes."""

    model_config = ConfigDict(json_schema_extra={"required": ["name", "kind"], "example": SINK_EXAMPLE})
    root: Sink


class SinkChange(_Unchecked):
    """Change of a sink: fields of its kind. Null is the default of a field; what is left out does not change."""

    model_config = ConfigDict(json_schema_extra={"example": {}})
    root: _change_schema("SinkFields", SINK_KINDS)  # type: ignore[valid-type]  # made of the entries
