"""What people say of a recording: its labels, checked, and one revision of them for each time they were changed."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import get_args

from ml.dataset.entries import Label
from ml.errors import InvalidRecordingLabels

MAX_TEXT = 64
# No control character, and no line or paragraph separator; as a regular expression that JSON Schema knows too.
TEXT_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
AnnotationChanges = Mapping[str, str | float | None]


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is known of one recording beside its sound; None for what nobody has said.

    Attributes:
        label: whether the machine was healthy. A recording without one may be scored, and is not trained on.
        machine, machine_id: what was recorded (``fan``, ``id_00``).
        snr_db: signal-to-noise ratio of the recording, in decibels.
        fault: name of the fault; of abnormal recordings alone.
        group: the recording session.
    """

    label: Label | None = None
    machine: str | None = None
    machine_id: str | None = None
    snr_db: float | None = None
    fault: str | None = None
    group: str | None = None

    def with_changes(self, given: AnnotationChanges) -> "Annotation":
        """These labels with others in their place; a fault goes with the label ``abnormal`` where it is not kept.

        Args:
            given: from :func:`checked`; what is not in it stays, None clears.

        Raises:
            RecordingLabelsInvalid: it names a fault of a recording that is not labelled abnormal.
        """
        after = replace(self, **given)  # type: ignore[arg-type]  # checked() has seen to names and types
        if after.fault is None or after.label == "abnormal":
            return after
        if given.get("fault"):
            raise InvalidRecordingLabels(
                f"The fault {after.fault!r} is named for a recording whose label is {after.label or 'not given'}; "
                "the label abnormal was expected with it."
            )
        return replace(after, fault=None)

    def differences(self, other: "Annotation") -> dict[str, str | float | None]:
        """The fields in which ``other`` differs from these, as ``other`` has them."""
        mine = asdict(self)
        return {name: value for name, value in asdict(other).items() if value != mine[name]}


FIELDS = tuple(field.name for field in fields(Annotation))


@dataclass(frozen=True, slots=True)
class AnnotationRevision:
    """Labels from a time on.

    Attributes:
        at: ISO 8601, UTC.
        request_id: of the request that changed them, ``-`` where it was none.
        changed: names of the fields that differ from the revision before.
        labels: all of them, after the change.
    """

    at: str
    request_id: str
    changed: tuple[str, ...]
    labels: Annotation


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
