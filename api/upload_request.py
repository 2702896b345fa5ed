"""Facts about an upload that are not sound: its machine, the times of its recordings, and its Idempotency-Key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Self

from api.errors import InvalidRequest
from api.forms import MACHINE_ID_PART, RECORDED_AT_PART
from api.uploads import Upload, UploadForm
from ml.errors import InvalidRecordingTime
from ml.machines.observation import MAX_MACHINE_ID, KeyedRequest, is_machine_id
from ml.machines.recording_time import RecordingTime, find_recording_time, parse_recorded_at
from ml.system.idempotency import digest_of, digest_of_request


@dataclass(frozen=True)
class UploadRequest:
    """Request with one or several recordings of one machine.

    Attributes:
        files: the uploaded files.
        machine_id: name of the machine; None without one.
        recorded_at: stated time of each file, ISO 8601, UTC; None where it is not stated.
        key: Idempotency-Key; None without one.
    """

    files: Sequence[Upload]
    machine_id: str | None
    recorded_at: Sequence[str | None]
    key: str | None

    @classmethod
    def of(cls, form: UploadForm, machine_id: str | None, recorded_at: str | list[str] | None, key: str | None) -> Self:
        """Join the parts of a form with the query parameters.

        Raises:
            InvalidRequest: a part is not a machine id, differs from the query parameter, or is not given for each file.
            InvalidRecordingTime: a stated time is not a time, or is in the future.
        """
        stated = [recorded_at] if isinstance(recorded_at, str) else recorded_at or []
        sent = form.lists.get(RECORDED_AT_PART, [form.fields.get(RECORDED_AT_PART, "")])
        times = _parse_times(_one_of(stated, sent), len(form.files))
        return cls(form.files, _machine_of(form, machine_id), times, key)

    @cached_property
    def digests(self) -> list[str]:
        """Digest of each file; 32 MiB take 20 ms, so that it is called in a thread."""
        return [digest_of(upload.content) for upload in self.files]

    @cached_property
    def keyed(self) -> KeyedRequest | None:
        """The key and the digest of the whole request; None without a key.

        Stated times do not belong to it: a client that retries may state the time of the retry.
        """
        if self.key is None:
            return None
        return KeyedRequest(self.key, digest_of_request([self.machine_id or "", *self.digests]))

    def time_of(self, number: int) -> RecordingTime:
        """Return the time of a file: as stated, from the file, from its name, or else the present time."""
        stated, upload = self.recorded_at[number], self.files[number]
        if stated is not None:
            return RecordingTime(stated, "request")
        return find_recording_time(upload.content, upload.name, datetime.now(UTC))


def _machine_of(form: UploadForm, query_value: str | None) -> str | None:
    """Return the machine id of the form or of the query; an empty part counts as not sent.

    Raises:
        InvalidRequest: the part is not a machine id, or it differs from the query parameter.
    """
    form_value = form.fields.get(MACHINE_ID_PART) or None
    if form_value is not None and not is_machine_id(form_value):
        raise InvalidRequest(
            f"The part {MACHINE_ID_PART!r} is {form_value[:MAX_MACHINE_ID]!r}; 1 to {MAX_MACHINE_ID} letters, digits, "
            "dots, hyphens and underscores, or two such names with a slash between them, were expected."
        )
    if form_value is not None and query_value not in (None, form_value):
        raise InvalidRequest(
            f"{MACHINE_ID_PART} is {query_value!r} in the query and {form_value!r} in the form; one of them was "
            "expected."
        )
    return form_value or query_value


def _one_of(query_values: Sequence[str], form_values: Sequence[str]) -> Sequence[str]:
    """Return the times of the query or of the form; empty ones alone count as not sent."""
    if not any(form_values):
        return query_values
    if any(query_values) and list(query_values) != list(form_values):
        raise InvalidRequest(f"{RECORDED_AT_PART} differs in the query and in the form; one of them was expected.")
    return form_values


def _parse_times(values: Sequence[str], n_files: int) -> list[str | None]:
    if not any(values):
        return [None] * n_files
    if len(values) == 1 < n_files:
        values = values[0].split(",")  # the way Swagger UI and others send a list in one part
    if len(values) != n_files:
        raise InvalidRequest(
            f"{RECORDED_AT_PART} was given {len(values)} times for {n_files} files; one for each file was expected, in "
            "the order of the files (empty where it is not known)."
        )
    now = datetime.now(UTC)
    return [_parse_time(value, now, number, n_files) for number, value in enumerate(values, 1)]


def _parse_time(value: str, now: datetime, number: int, n_files: int) -> str | None:
    if not value.strip():
        return None
    try:
        return parse_recorded_at(value, now)
    except InvalidRecordingTime as error:
        if n_files == 1:
            raise
        raise InvalidRecordingTime(f"File {number}: {error}") from error
