"""Multipart forms of routes; each part is declared once, for the code that reads forms and for the OpenAPI schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml.dataset.annotations import MAX_TEXT, TEXT_PATTERN
from ml.machines.observation import MACHINE_ID_PATTERN, MAX_MACHINE_ID

MULTIPART = "multipart/form-data"
FILE_PART, MACHINE_ID_PART, RECORDED_AT_PART = "file", "machine_id", "recorded_at"
EVENT_PART, CLIP_PART, SPECTROGRAM_PART = "event", "clip", "spectrogram"
MAX_TEXT_BYTES = 4096  # length of one text part
MAX_EVENT_BYTES = 64 * 2**10
SHOWN_RAW_TYPES = ("audio/wav", "audio/flac")
# Types of a recording that is sent as the body, besides audio/*. What the file is, its bytes decide.
OTHER_RAW_TYPES = ("application/octet-stream", "application/ogg")
PartSchema = Mapping[str, Any]

FILE: PartSchema = {
    "type": "string",
    "format": "binary",
    "description": "A recording: WAV, FLAC, or another format of docs/formats.md. For a model with a reference "
    "channel: one file with both channels, such as a stereo WAV with channel 0 at the machine and channel 1 in the "
    "hall.",
}
FILES: PartSchema = {"type": "array", "items": FILE, "minItems": 1}
TEXT: PartSchema = {"type": "string", "maxLength": MAX_TEXT, "pattern": TEXT_PATTERN}
MACHINE_ID: PartSchema = {
    "type": "string",
    "maxLength": MAX_MACHINE_ID,
    "pattern": f"^({MACHINE_ID_PATTERN[1:-1]})?$",  # an empty part counts as not sent
    "description": "Same as the query parameter `machine_id`; send one of the two.",
}
RECORDED_AT: PartSchema = {
    "type": "string",
    "description": "Same as the query parameter `recorded_at`; send one of the two.",
}
SEVERAL_RECORDED_AT: PartSchema = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Same as the query parameter `recorded_at`; send one of the two.",
}


@dataclass(frozen=True, slots=True)
class Form:
    """Multipart form.

    Attributes:
        parts: JSON schema of each part, by name.
        closed: whether a part with another name is refused; otherwise it is ignored.
        raw_types: media types that the schema shows for a recording sent as the body, without a form; ``audio/*`` and
            :data:`OTHER_RAW_TYPES` are accepted. Empty if only a form is accepted.
        files: names of the parts that are files.
        required: name of the part that must be there.
        max_text_bytes: length of one text part.
    """

    parts: Mapping[str, PartSchema]
    closed: bool = True
    raw_types: tuple[str, ...] = ()
    files: tuple[str, ...] = (FILE_PART,)
    required: str = FILE_PART
    max_text_bytes: int = MAX_TEXT_BYTES

    @property
    def takes_several(self) -> bool:
        """Whether the form may have several files."""
        return FILE_PART in self.lists

    @property
    def lists(self) -> frozenset[str]:
        """Names of the parts that may be sent several times."""
        return frozenset(name for name, part in self.parts.items() if part["type"] == "array")

    def openapi(self) -> dict[str, Any]:
        """Return the request body of a route with this form, for the OpenAPI schema."""
        parts = {name: part if name == self.required else _left_empty(part) for name, part in self.parts.items()}
        schema: dict[str, Any] = {"type": "object", "properties": parts, "required": [self.required]}
        if self.closed:
            schema["additionalProperties"] = False
        content = {MULTIPART: {"schema": schema}} | {each: {"schema": FILE} for each in self.raw_types}
        return {"requestBody": {"required": True, "content": content}}


def _left_empty(part: PartSchema) -> PartSchema:
    """Return an optional part that the form of /docs leaves empty: Swagger UI fills it with a made-up value."""
    return {**part, "example": [] if part["type"] == "array" else ""}


# The original service ignores other parts, and its clients may send some.
ONE_RECORDING = {FILE_PART: FILE, MACHINE_ID_PART: MACHINE_ID, RECORDED_AT_PART: RECORDED_AT}
ORIGINAL_FORM = Form(ONE_RECORDING, closed=False)
ONE_FILE_FORM = Form(ONE_RECORDING, raw_types=SHOWN_RAW_TYPES)
FEATURES_FORM = Form({FILE_PART: FILE}, raw_types=SHOWN_RAW_TYPES)
BATCH_FORM = Form({FILE_PART: FILES, MACHINE_ID_PART: MACHINE_ID, RECORDED_AT_PART: SEVERAL_RECORDED_AT})
RECORDINGS_FORM = Form(
    {
        FILE_PART: FILES,
        "label": {
            "type": "string",
            "enum": ["normal", "abnormal", ""],
            "description": "`normal`: the machine was healthy; `abnormal`: it was faulty.",
        },
        "machine": {**TEXT, "description": "Kind of the machine, such as `fan`."},
        "machine_id": {**TEXT, "description": "Identifier of the machine, such as `id_00`."},
        "snr_db": {"type": "number", "description": "Signal-to-noise ratio in dB."},
        "fault": {**TEXT, "description": "Name of the fault; only with the label `abnormal`."},
        "group": {**TEXT, "description": "Recording session."},
    }
)
EVENT_FORM = Form(
    {
        EVENT_PART: {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/EventReport"},
            "description": "The event as JSON: an `EventReport`.",
        },
        CLIP_PART: {"type": "string", "format": "binary", "description": "Its sound, a FLAC file."},
        SPECTROGRAM_PART: {
            "type": "string",
            "format": "binary",
            "description": "A picture of its spectrum, a PNG file. Without the sound it is ignored.",
        },
    },
    files=(CLIP_PART, SPECTROGRAM_PART),
    required=EVENT_PART,
    max_text_bytes=MAX_EVENT_BYTES,
)
