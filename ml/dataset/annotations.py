"""The annotation of a recording: what is known of it beside its samples, checked, with a revision for each change."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self, get_args

from ml.errors import InvalidRecordingLabels

Label = Literal["normal", "abnormal"]
NORMAL: Final = "normal"
ABNORMAL: Final = "abnormal"
MAX_TEXT = 64
# No control character, and no line or paragraph separator; as a regular expression that JSON Schema knows too.
TEXT_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
FIELDS = ("label", "machine", "machine_id", "snr_db", "fault", "group")
"""Names of the fields in manifests, journals and JSON; ``group`` is the session there."""
AnnotationChanges = Mapping[str, str | float | None]
"""Values by names of :data:`FIELDS`."""


def machine_name(machine: str | None, machine_id: str | None) -> str:
    """``fan/id_00``; without the parts that are not known."""
    return "/".join(part for part in (machine, machine_id) if part)


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is known of one recording beside its samples; None for what nobody has said.

    Attributes:
        label: whether the machine was healthy. A recording without one may be scored, and is not trained on.
        machine, machine_id: which machine (``fan``, ``id_00``).
        snr_db: signal-to-noise ratio of the recording, in decibels.
        fault: name of the fault; of abnormal recordings alone.
        session: the recording session. A split by session never separates its recordings.
    """

    label: Label | None = None
    machine: str | None = None
    machine_id: str | None = None
    snr_db: float | None = None
    fault: str | None = None
    session: str | None = None

    @property
    def machine_name(self) -> str:
        """The machine as a detector and a reader know it: ``fan/id_00``; empty where it is not known."""
        return machine_name(self.machine, self.machine_id)

    def to_dict(self) -> dict[str, str | float | None]:
        """Plain values by :data:`FIELDS`."""
        values = (self.label, self.machine, self.machine_id, self.snr_db, self.fault, self.session)
        return dict(zip(FIELDS, values, strict=True))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; other keys are ignored."""
        return cls(*(values[name] for name in FIELDS))

    def with_changes(self, changes: AnnotationChanges) -> Self:
        """This annotation with some fields replaced; a fault goes with the label ``abnormal`` where it is not kept.

        Args:
            changes: from :func:`check_annotation`; a field that is not in it stays, None clears one.

        Raises:
            InvalidRecordingLabels: it names a fault of a recording that is not labelled abnormal.
        """
        after = self.from_dict(self.to_dict() | dict(changes))
        if after.fault is None or after.label == ABNORMAL:
            return after
        if changes.get("fault"):
            raise InvalidRecordingLabels(
                f"The fault {after.fault!r} is named for a recording whose label is {after.label or 'not given'}; "
                "the label abnormal was expected with it."
            )
        return replace(after, fault=None)

    def differences(self, other: "Annotation") -> dict[str, str | float | None]:
        """The fields in which ``other`` differs from this one, as ``other`` has them."""
        mine = self.to_dict()
        return {name: value for name, value in other.to_dict().items() if value != mine[name]}


NOTHING_KNOWN = Annotation()


@dataclass(frozen=True, slots=True)
class AnnotationRevision:
    """Labels from a time on.

    Attributes:
        at: ISO 8601, UTC.
        request_id: of the request that changed them, ``-`` where it was none.
        changed: names of the fields that differ from the revision before.
        annotation: all of it, after the change.
    """

    at: str
    request_id: str
    changed: tuple[str, ...]
    annotation: Annotation


def check_annotation(given: AnnotationChanges) -> dict[str, str | float | None]:
    """Labels as a client gave them, once it is sure that each can be meant.

    Args:
        given: by the names of :class:`Labels`; numbers may be text, and an empty text is one that was not given.

    Returns:
        Those that were given; None where one is to be cleared.

    Raises:
        RecordingLabelsInvalid: with the field and what was expected of it.
    """
    return {name: _check_field(name, value) for name, value in given.items() if value is None or str(value).strip()}


def _check_field(name: str, value: str | float | None) -> str | float | None:
    if name not in FIELDS:
        raise InvalidRecordingLabels(f"There is no label {name!r}; {', '.join(FIELDS)} are known.")
    if value is None:
        return None
    if name == "snr_db":
        return _decibels(value)
    if name == "label" and value not in get_args(Label):
        raise InvalidRecordingLabels(f"The label is {_shown(value)}; normal or abnormal was expected.")
    return _text(name, value)


def _decibels(value: str | float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRecordingLabels(f"snr_db is {_shown(value)}; a number of decibels was expected.")
    return number


def _text(name: str, value: str | float) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise InvalidRecordingLabels(f"{name} is {_shown(value)}; at most {MAX_TEXT} characters were expected.")
    if not re.fullmatch(TEXT_PATTERN, value):
        raise InvalidRecordingLabels(f"{name} is {_shown(value)}; a text without control characters was expected.")
    return value.strip()


def _shown(value: str | float) -> str:
    text = str(value)
    return repr(text) if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]!r}..."
