"""Annotation of a recording: label, machine, SNR, fault and session, with a revision for each change."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self, get_args

from ml.errors import InvalidRecordingLabels

Label = Literal["normal", "abnormal"]
Side = Literal["train", "validation", "test"]
NORMAL: Final = "normal"
ABNORMAL: Final = "abnormal"
MAX_TEXT = 64
# No control characters, line separators or paragraph separators. JSON Schema accepts this regular expression too.
TEXT_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
FIELDS = ("label", "machine", "machine_id", "snr_db", "fault", "group")
"""Field names in manifests, journals and JSON; ``group`` is the session."""
PUBLISHED_FIELDS = ("section", "domain", "split")
"""Field names of facts that published datasets state; plain values have only those that are known."""
AnnotationChanges = Mapping[str, str | float | None]
"""New values by the names in :data:`FIELDS`."""


def machine_name(machine: str | None, machine_id: str | None) -> str:
    """Return kind and id of a machine as ``fan/id_00``, without the parts that are not known."""
    return "/".join(part for part in (machine, machine_id) if part)


@dataclass(frozen=True, slots=True)
class Annotation:
    """Known facts of one recording that are not in its samples; None where a fact is not known.

    Attributes:
        label: ``normal`` or ``abnormal``. A recording without a label can be scored, but is not used for training.
        machine, machine_id: kind and id of the machine (``fan``, ``id_00``).
        snr_db: signal-to-noise ratio of the recording, in dB.
        fault: name of the fault; only for abnormal recordings.
        session: recording session. A split by session keeps its recordings on one side.
        section: section of a DCASE dataset, such as ``00``.
        domain: ``source`` or ``target`` in a DCASE dataset.
        split: side that the dataset gives the recording to.
    """

    label: Label | None = None
    machine: str | None = None
    machine_id: str | None = None
    snr_db: float | None = None
    fault: str | None = None
    session: str | None = None
    section: str | None = None
    domain: str | None = None
    split: Side | None = None

    @property
    def machine_name(self) -> str:
        """Machine kind and id, ``fan/id_00``; empty where neither is known."""
        return machine_name(self.machine, self.machine_id)

    def to_dict(self) -> dict[str, str | float | None]:
        """Return plain values by the names in :data:`FIELDS`, and known values of :data:`PUBLISHED_FIELDS`."""
        values = (self.label, self.machine, self.machine_id, self.snr_db, self.fault, self.session)
        published = {name: getattr(self, name) for name in PUBLISHED_FIELDS if getattr(self, name) is not None}
        return dict(zip(FIELDS, values, strict=True)) | published

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create an annotation from the values of :meth:`to_dict`; other keys are ignored."""
        return cls(*(values[name] for name in FIELDS), *(values.get(name) for name in PUBLISHED_FIELDS))

    def with_changes(self, changes: AnnotationChanges) -> Self:
        """Return this annotation with some fields replaced.

        An old fault is cleared if the new label is not ``abnormal``.

        Args:
            changes: result of :func:`check_annotation`; other fields stay, None clears a field.

        Raises:
            InvalidRecordingLabels: ``changes`` has a fault, and the label is not ``abnormal``.
        """
        after = self.from_dict(self.to_dict() | dict(changes))
        if after.fault is None or after.label == ABNORMAL:
            return after
        if changes.get("fault"):
            raise InvalidRecordingLabels(
                f"The fault is {after.fault!r} and the label is {after.label or 'not given'}; a recording with a fault "
                "needs the label abnormal."
            )
        return replace(after, fault=None)

    def differences(self, other: "Annotation") -> dict[str, str | float | None]:
        """Return the fields in which ``other`` differs from this annotation, with the values of ``other``."""
        mine = self.to_dict()
        return {name: value for name, value in other.to_dict().items() if value != mine.get(name)}


NOTHING_KNOWN = Annotation()


@dataclass(frozen=True, slots=True)
class AnnotationRevision:
    """Annotation of a recording after one change.

    Attributes:
        at: time of the change, ISO 8601, UTC.
        request_id: id of the request that made the change; ``-`` without a request.
        changed: names of the fields that differ from the revision before.
        annotation: the complete annotation after the change.
    """

    at: str
    request_id: str
    changed: tuple[str, ...]
    annotation: Annotation


def check_annotation(given: AnnotationChanges) -> dict[str, str | float | None]:
    """Check the annotation that a client sends.

    Args:
        given: values by the names in :data:`FIELDS`. A number may be text. An empty text counts as not given.

    Returns:
        The checked values that were given; None where a field is to be cleared.

    Raises:
        InvalidRecordingLabels: a value is invalid; the message names the field and the expected value.
    """
    return {name: _check_field(name, value) for name, value in given.items() if value is None or str(value).strip()}


def _check_field(name: str, value: str | float | None) -> str | float | None:
    if name not in FIELDS:
        raise InvalidRecordingLabels(f"There is no field {name!r}; one of {', '.join(FIELDS)} was expected.")
    if value is None:
        return None
    if name == "snr_db":
        return _check_decibels(value)
    if name == "label" and value not in get_args(Label):
        raise InvalidRecordingLabels(f"The label is {_quote(value)}; normal or abnormal was expected.")
    return _check_text(name, value)


def _check_decibels(value: str | float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRecordingLabels(f"snr_db is {_quote(value)}; a number in dB was expected.")
    return number


def _check_text(name: str, value: str | float) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise InvalidRecordingLabels(f"{name} is {_quote(value)}; at most {MAX_TEXT} characters were expected.")
    if not re.fullmatch(TEXT_PATTERN, value):
        raise InvalidRecordingLabels(f"{name} is {_quote(value)}; a text without control characters was expected.")
    return value.strip()


def _quote(value: str | float) -> str:
    text = str(value)
    return repr(text) if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]!r}..."
