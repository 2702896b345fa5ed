"""Types of sources, with the checks of their values."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from listener.config.entry import HOURS, MQTT_SCHEMES, Entry, MachineId, Topic, check_url

STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "rtp", "srt")
NUMBERED_CARD = re.compile(r"(hw|plughw|dsnoop|CARD=)[:=]?[0-9]+(,|$)")
WRITING_PLUGIN = re.compile(r"alsa:(file|tee)\b")  # plugins of ALSA that write what they record into a file
SampleFormat = Literal["s16le", "s32le", "f32le"]


class Schedule(BaseModel):
    """When a source is judged. Without any condition it is always judged; all conditions must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    hours: tuple[str, ...] = ()
    """Local hours in which the machine runs, such as `06:00-22:00` or `Mon-Fri 22:00-06:00`."""
    min_level_dbfs: float | None = Field(default=None, ge=-120, le=0)
    """Level above which the machine runs, in dBFS. Quieter clips are not judged."""
    broker: str | None = None
    """MQTT broker of `topic`, such as `mqtt://broker:1883`."""
    topic: Topic | None = None
    """MQTT topic, without wildcards, that states whether the machine runs."""
    running: tuple[str, ...] = ("on", "1", "true", "running")
    """Payloads of `topic` with which the machine runs; upper and lower case are the same."""

    @model_validator(mode="after")
    def _check(self) -> "Schedule":
        if (self.topic is None) != (self.broker is None):
            raise ValueError("topic and broker of a schedule belong together")
        if self.broker is not None:
            check_url(self.broker, MQTT_SCHEMES)
        for hours in self.hours:
            if HOURS.fullmatch(hours) is None:
                raise ValueError(f"{hours!r} is not a range of hours; 06:00-22:00 or Mon-Fri 06:00-22:00 was expected")
        return self


class SourceEntry(Entry):
    """Fields of every source."""

    machine_id: MachineId
    """Machine that it records."""
    model: Annotated[str, Field(min_length=1, max_length=100)] = "champion"
    """Model that judges it: an alias or a version."""
    clip_s: float = Field(default=10.0, ge=1, le=60)
    """Length of a clip that is judged, in seconds, 1 to 60. Recordings of a folder are judged whole."""
    hop_s: float | None = Field(default=None, ge=0.5, le=3600)
    """Time from one clip to the next, in seconds; by default, the length of a clip."""
    note: str = Field(default="", max_length=500)
    """Text of a person, such as the position of the microphone and its gain."""
    schedule: Schedule = Schedule()
    """When it is judged."""

    @property
    def used_hop_s(self) -> float:
        """Time from one clip to the next, in seconds."""
        return self.hop_s or self.clip_s


class DeviceSource(SourceEntry):
    """Microphone of this computer."""

    kind: Literal["device"] = "device"
    device: Annotated[str, Field(pattern=r"^(default|pulse:[^\s,]{1,200}|alsa:[A-Za-z0-9_=:.,-]{1,200})$")] = "default"
    """`default`, `pulse:` and the name of a source of PulseAudio or PipeWire, or `alsa:` and a name of ALSA with the
    card's id, such as `alsa:hw:CARD=USB,DEV=0`. Numbers of cards change, and are refused."""
    channels: int = Field(default=1, ge=1, le=8)
    """Number of channels to record."""
    channel: int | None = Field(default=None, ge=0, le=7)
    """The one channel to use, from 0; by default, those that the model uses."""
    sample_rate_hz: int = Field(default=16_000, ge=8_000, le=192_000)
    """Sample rate to record with."""
    sample_format: SampleFormat = "s16le"
    """Format of a sample: signed 16 or 32 bits, or a 32-bit float, little-endian. Digital (I2S) microphones need 32."""

    @model_validator(mode="after")
    def _check(self) -> "DeviceSource":
        if NUMBERED_CARD.search(self.device):
            raise ValueError(
                f"{self.device!r} names a card by its number, which changes; its name was expected, such as "
                "alsa:hw:CARD=USB,DEV=0 (arecord -L lists them)"
            )
        if WRITING_PLUGIN.match(self.device):
            raise ValueError(f"{self.device!r} would write a file; the name of a microphone was expected")
        return self


class StreamSource(SourceEntry):
    """Stream from the network, read with ffmpeg."""

    kind: Literal["stream"] = "stream"
    url: Annotated[str, Field(max_length=2000, examples=["rtsp://camera-7/audio"])]
    """Address: rtsp, rtsps, http, https (also Icecast and HLS), udp, rtp or srt."""
    transport: Literal["tcp", "udp"] = "tcp"
    """Transport of RTSP."""
    timeout_s: float = Field(default=5.0, ge=1, le=60)
    """Seconds without data after which the connection is closed and opened again."""
    channel: int | None = Field(default=None, ge=0, le=7)
    """The one channel to use, from 0; by default, those that the model uses."""
    sample_rate_hz: int | None = Field(default=None, ge=8_000, le=192_000)
    """Sample rate to convert to; by default, that of the stream."""

    @model_validator(mode="after")
    def _check(self) -> "StreamSource":
        check_url(self.url, STREAM_SCHEMES)
        return self


class FolderSource(SourceEntry):
    """Folder into which other recorders write."""

    kind: Literal["folder"] = "folder"
    path: Annotated[str, Field(min_length=1, max_length=1000, examples=["inbox"])]
    """The folder. Folders in it are read too."""
    after: Literal["leave", "move", "delete"] = "leave"
    """What happens to a recording after its verdict."""
    move_to: str | None = Field(default=None, max_length=1000)
    """Folder for `after = "move"`; the path below the source's folder is kept."""
    settle_s: float = Field(default=2.0, ge=0.2, le=600)
    """Seconds for which a file must not change before it is read."""
    poll: bool | None = None
    """Whether to list the folder again and again, as network file systems need it; by default, if it is on one."""

    @model_validator(mode="after")
    def _check(self) -> "FolderSource":
        if (self.after == "move") != (self.move_to is not None):
            raise ValueError('after = "move" and move_to belong together')
        return self


class PipeSource(SourceEntry):
    """Raw PCM from stdin or a named pipe."""

    kind: Literal["pipe"] = "pipe"
    path: Annotated[str, Field(min_length=1, max_length=1000)] = "-"
    """A named pipe (FIFO), or `-` for stdin."""
    sample_rate_hz: int = Field(default=16_000, ge=8_000, le=192_000)
    """Sample rate."""
    channels: int = Field(default=1, ge=1, le=8)
    """Number of channels, interleaved."""
    sample_format: SampleFormat = "s16le"
    """Format of a sample: signed 16 or 32 bits, or a 32-bit float, little-endian."""
    channel: int | None = Field(default=None, ge=0, le=7)
    """The one channel to use, from 0; by default, those that the model uses."""


class MqttSource(SourceEntry):
    """Audio chunks that small devices send to an MQTT broker."""

    kind: Literal["mqtt"] = "mqtt"
    url: Annotated[str, Field(max_length=2000, examples=["mqtt://broker:1883"])]
    """Broker: mqtt:// or mqtts://, with user and password if it needs them."""
    topic: Topic
    """Topic of the chunks, without wildcards."""
    sample_rate_hz: int = Field(default=16_000, ge=8_000, le=192_000)
    """Sample rate."""
    channels: int = Field(default=1, ge=1, le=8)
    """Number of channels, interleaved."""
    sample_format: SampleFormat = "s16le"
    """Format of a sample. A chunk with a WAV header is recognised, and its header counts."""
    channel: int | None = Field(default=None, ge=0, le=7)
    """The one channel to use, from 0; by default, those that the model uses."""

    @model_validator(mode="after")
    def _check(self) -> "MqttSource":
        check_url(self.url, MQTT_SCHEMES)
        return self


Source = Annotated[DeviceSource | StreamSource | FolderSource | PipeSource | MqttSource, Field(discriminator="kind")]
SOURCES: TypeAdapter[Any] = TypeAdapter(Source)
