"""From an event to a training: the review of a person, and the clip as a recording of a dataset with its label."""

from datetime import UTC, datetime
from pathlib import Path

from listener.clip_files import clip_file
from listener.event_time import to_seconds
from listener.events import Event, Review, ReviewVerdict
from listener.store import EventStore
from ml.audio.info import read_info
from ml.dataset.annotations import ABNORMAL, MAX_TEXT, NORMAL, AnnotationChanges, check_annotation
from ml.dataset.collection.store import NO_REQUEST, AddResult, Collection
from ml.errors import InvalidRecordingLabels
from ml.system.clock import timestamp

LABEL_OF_VERDICT = {"healthy": NORMAL, "not_the_machine": NORMAL, "faulty": ABNORMAL}
REVIEW_FIELDS, RECORDING_FIELDS = ("review", "updated"), ("recording",)


def review_event(
    store: EventStore, event_id: str, verdict: ReviewVerdict | None, label: str | None, note: str, by: str
) -> Event:
    """Save the review of an event; it replaces an earlier one.

    Args:
        store: the events.
        event_id: id of the event.
        verdict: verdict of the person; None without one.
        label: name of the fault; None without one.
        note: text.
        by: name of the person or the API key.

    Returns:
        The event with its review.

    Raises:
        EventNotFound, EventsUnavailable, StorageFull
        InvalidRecordingLabels: the label has characters that a dataset does not allow, or the verdict has no fault.
    """
    label = _check_label(verdict, label)
    event, at = store.get(event_id), timestamp()
    # The listener keeps the time of an active event; that of another device tells its reports apart.
    updated = event.updated if event.state == "active" or event.origin else at
    reviewed = event.changed(review=Review(verdict, label, note, by, at), updated=updated)
    store.save(reviewed, "reviewed", only=REVIEW_FIELDS)
    return store.get(event_id)


def make_recording(
    home: Path,
    store: EventStore,
    event_id: str,
    dataset: str,
    label: str | None = None,
    fault: str | None = None,
    request_id: str = NO_REQUEST,
) -> AddResult:
    """Add the clip of an event to a dataset, as an upload does. The same clip is kept once; its label may change.

    Args:
        home: SIGNALML_HOME.
        store: the events.
        event_id: id of the event.
        dataset: name of the dataset; it is created if it does not exist.
        label: ``normal`` or ``abnormal``; by default, that of the review.
        fault: name of the fault; by default, that of the review.
        request_id: id of the request; stored with the recording.

    Returns:
        The recording, and whether it is new.

    Raises:
        EventNotFound, ClipNotFound, EventsUnavailable
        InvalidName, DatasetReadOnly, StorageFull
        InvalidRecordingLabels: there is neither a label nor a verdict of a person, or a value cannot be used.
    """
    event = store.get(event_id)
    changes = _annotation(event, label, fault)
    collection = Collection(home, dataset)
    content = clip_file(home, event).read_bytes()
    result = collection.add(content, read_info(content), _file_name(event), changes, request_id)
    made = f"{collection.name}/{result.recording.id}"
    if made != event.recording:
        store.save(event.changed(recording=made), "reviewed", only=RECORDING_FIELDS)
    return result


def _check_label(verdict: ReviewVerdict | None, label: str | None) -> str | None:
    if not label:
        return None
    if verdict != "faulty":
        raise InvalidRecordingLabels(
            f"The label is {label[:MAX_TEXT]!r} and the verdict is {verdict or 'not given'}; a label is the name of a "
            "fault, with the verdict faulty."
        )
    return str(check_annotation({"fault": label})["fault"])


def _annotation(event: Event, label: str | None, fault: str | None) -> AnnotationChanges:
    review = event.review
    if label is None and review is not None and review.verdict is not None:
        label = LABEL_OF_VERDICT[review.verdict]
    if label is None:
        raise InvalidRecordingLabels(
            f"The event {event.id} has no verdict of a person; a label was expected, normal or abnormal, or a review "
            "of the event before."
        )
    if fault is None and review is not None and label == ABNORMAL:
        fault = review.label
    kind, _, machine_id = event.machine_id.rpartition("/")
    given = {"label": label, "fault": fault or "", "machine": kind, "machine_id": machine_id}
    return check_annotation(given)


def _file_name(event: Event) -> str:
    """Return a name with the machine and the time of the clip, as datasets read it."""
    began = to_seconds(event.began if event.clip is None else event.clip.began)
    return f"{event.machine_id.replace('/', '-')}_{datetime.fromtimestamp(began, UTC):%Y%m%dT%H%M%S}.flac"
