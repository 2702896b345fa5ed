"""Errors of the library, one class for each cause.

::

    SignalMLError
    ├── AudioError                 a recording is refused
    │   ├── EmptyAudio
    │   ├── NotAudio
    │   ├── UnsupportedCodec
    │   ├── DecoderMissing
    │   ├── DecoderFailed
    │   ├── MalformedAudio
    │   ├── TruncatedAudio
    │   ├── UnsupportedSampleRate
    │   ├── TooManyChannels
    │   ├── ChannelNotFound
    │   ├── RecordingTooLong
    │   ├── RecordingTooShort
    │   ├── UnpackedTooLarge
    │   └── NotFinite
    ├── SpecError                  a feature spec is invalid
    ├── ModelError                 a model cannot be read, trusted or served
    │   ├── ImportRefused
    │   ├── BundleDamaged
    │   ├── BundleUnrecognised
    │   ├── GoldenClipFailed
    │   ├── ModelNotFound
    │   ├── ModelInUse
    │   ├── ReportNotFound
    │   ├── AliasNotSet
    │   ├── AliasReserved
    │   ├── ChampionChanged
    │   ├── InvalidClassLabels
    │   ├── ModelNotCalibrated
    │   ├── SignatureMissing
    │   ├── SignatureInvalid
    │   ├── SignerUnknown
    │   ├── SigningKeyNotFound
    │   └── SigningKeyInvalid
    ├── DatasetError               recordings cannot be used for training
    │   ├── DatasetNotFound
    │   ├── DatasetEmpty
    │   ├── DatasetExists
    │   ├── DatasetReadOnly
    │   ├── DatasetVersionNotFound
    │   ├── RecordingNotFound
    │   ├── InvalidRecordingLabels
    │   ├── InvalidManifest
    │   ├── InvalidName
    │   ├── LabelsContradictNames
    │   ├── OneClassOnly
    │   ├── TooFewRecordings
    │   ├── SplitImpossible
    │   ├── LeakingSplit
    │   ├── RecordingChanged
    │   └── FeaturesMissing
    ├── MachineError               the record of a machine cannot be used
    │   ├── MachineNotFound
    │   ├── NothingToAcknowledge
    │   ├── InvalidRecordingTime
    │   └── MachinesUnavailable
    ├── ListenerError              live listening cannot be set up or read
    │   ├── InvalidListenerConfig
    │   ├── EntryExists
    │   ├── EntryNotFound
    │   ├── EventNotFound
    │   ├── ClipNotFound
    │   ├── EventsUnavailable
    │   ├── ListenerNotRunning
    │   ├── ListenerRunsAlready
    │   ├── ProgramMissing
    │   └── DeliveryFailed
    ├── InvalidParameter           a number or an option cannot be used
    ├── IdempotencyConflict        an Idempotency-Key was used for another request
    ├── ProcessLost                a process of a parallel map was killed
    ├── StorageFull                the disk is full
    ├── DownloadError              an archive cannot be downloaded
    │   ├── DownloadFailed
    │   └── DownloadDamaged
    ├── Cancelled                  work was cancelled
    └── MissingExtra               an optional package is not installed

Each class has a stable ``code`` for clients. The message states what was found, what was expected, and what to do next.
HTTP statuses are in :mod:`api.errors`. The docstrings are the meanings in ``docs/errors.md``.
"""

from typing import ClassVar


class SignalMLError(Exception):
    """Root of all errors. A ``code`` never changes once released."""

    code: ClassVar[str] = "signalml_error"


class AudioError(SignalMLError):
    """The file is not a recording that can be used."""

    code = "audio_refused"


class EmptyAudio(AudioError):
    """The file has no bytes, or a header without samples."""

    code = "audio_empty"


class NotAudio(AudioError):
    """The file is no recording of a known format."""

    code = "audio_not_recognised"


class UnsupportedCodec(AudioError):
    """The samples are coded in a way that cannot be read."""

    code = "audio_codec_unsupported"


class DecoderMissing(AudioError):
    """The format of the file needs the optional package `av`, which is not installed."""

    code = "audio_decoder_missing"


class DecoderFailed(AudioError):
    """The decoder of the file crashed, or exceeded its limits of time and memory."""

    code = "audio_decoder_failed"


class MalformedAudio(AudioError):
    """The header of the file contradicts itself, or the coded samples cannot be decoded."""

    code = "audio_malformed"


class TruncatedAudio(AudioError):
    """The file ends inside its header, or has fewer samples than the header states."""

    code = "audio_truncated"


class UnsupportedSampleRate(AudioError):
    """The sample rate is outside the accepted range."""

    code = "audio_sample_rate_unsupported"


class TooManyChannels(AudioError):
    """The recording has more channels than are accepted."""

    code = "audio_too_many_channels"


class ChannelNotFound(AudioError):
    """The recording does not have the channel that the model uses."""

    code = "audio_channel_not_found"


class RecordingTooLong(AudioError):
    """The recording is longer than the limit."""

    code = "audio_too_long"


class RecordingTooShort(AudioError):
    """The recording is shorter than the limit."""

    code = "audio_too_short"


class UnpackedTooLarge(AudioError):
    """The recording needs more memory than the limit when it is unpacked."""

    code = "audio_unpacked_too_large"


class NotFinite(AudioError):
    """The recording has samples that are NaN, infinite or far beyond full scale."""

    code = "audio_not_finite"


class SpecError(SignalMLError):
    """The feature spec has a value that is not accepted, or values that contradict each other."""

    code = "spec_invalid"


class ModelError(SignalMLError):
    """The model cannot be read, trusted or served."""

    code = "model_error"


class ImportRefused(ModelError):
    """The model file is not a network that can be imported."""

    code = "model_import_refused"


class BundleDamaged(ModelError):
    """The content of the bundle differs from its manifest."""

    code = "model_bundle_damaged"


class BundleUnrecognised(ModelError):
    """The folder or archive is not a bundle, or this version cannot read its format."""

    code = "model_bundle_foreign"


class GoldenClipFailed(ModelError):
    """The bundle does not give the stored answer for its golden clip."""

    code = "model_golden_clip_failed"


class ModelNotFound(ModelError):
    """The registry has no such version."""

    code = "model_not_found"


class ModelInUse(ModelError):
    """The version cannot be removed: an alias points to it, or an unfinished job uses it."""

    code = "model_in_use"


class ReportNotFound(ModelError):
    """The version has no report: it was not trained in this home."""

    code = "model_report_not_found"


class AliasNotSet(ModelError):
    """The alias points to no version."""

    code = "model_alias_not_set"


class AliasReserved(ModelError):
    """The alias is managed by the registry and cannot be set."""

    code = "model_alias_reserved"


class ChampionChanged(ModelError):
    """The champion was replaced while a candidate was compared with it."""

    code = "model_champion_changed"


class InvalidClassLabels(ModelError):
    """The labels do not fit the network."""

    code = "model_labels_invalid"


class ModelNotCalibrated(ModelError):
    """The threshold cannot be set by a false-alarm rate: the model has no scores of normal recordings."""

    code = "model_not_calibrated"


class SignatureMissing(ModelError):
    """The model is not signed, and this service accepts signed models only."""

    code = "model_not_signed"


class SignatureInvalid(ModelError):
    """The signature of the model does not match its content."""

    code = "model_signature_invalid"


class SignerUnknown(ModelError):
    """The model is signed with a key that is not trusted here."""

    code = "model_signer_unknown"


class SigningKeyNotFound(ModelError):
    """There is no signing key or trusted key with this name."""

    code = "signing_key_not_found"


class SigningKeyInvalid(ModelError):
    """The name or the file of a signing key or a trusted key cannot be used."""

    code = "signing_key_invalid"


class DatasetError(SignalMLError):
    """The recordings cannot be used for training as they are."""

    code = "dataset_refused"


class DatasetNotFound(DatasetError):
    """There is no such dataset, folder or manifest."""

    code = "dataset_not_found"


class ReferenceChannelMissing(DatasetError):
    """Most recordings do not have the reference channel of the training."""

    code = "reference_channel_missing"


class DatasetEmpty(DatasetError):
    """The dataset has no readable recording."""

    code = "dataset_empty"


class DatasetExists(DatasetError):
    """A dataset with this name exists already."""

    code = "dataset_exists"


class DatasetReadOnly(DatasetError):
    """The dataset is a folder made by hand: jobs can read it, its recordings are not managed here."""

    code = "dataset_read_only"


class DatasetVersionNotFound(DatasetError):
    """The dataset has no such version."""

    code = "dataset_version_not_found"


class RecordingNotFound(DatasetError):
    """The dataset has no such recording."""

    code = "recording_not_found"


class InvalidRecordingLabels(DatasetError):
    """The labels of the recording are invalid or contradict each other."""

    code = "recording_labels_invalid"


class InvalidManifest(DatasetError):
    """The manifest lacks a column or has an invalid value."""

    code = "dataset_manifest_invalid"


class InvalidName(DatasetError):
    """The name cannot be used as the name of a folder."""

    code = "name_invalid"


class LabelsContradictNames(DatasetError):
    """Names of files or folders contradict the labels: correct the labels, or confirm them with `confirm_labels`."""

    code = "dataset_labels_contradict"


class OneClassOnly(DatasetError):
    """All recordings are normal, or all are abnormal, and the other kind is needed too."""

    code = "dataset_one_class"


class TooFewRecordings(DatasetError):
    """There are too few recordings for the split, the detector or the fault groups."""

    code = "dataset_too_small"


class SplitImpossible(DatasetError):
    """The recordings cannot be split in the requested way."""

    code = "split_impossible"


class LeakingSplit(DatasetError):
    """The same recording, block or session is on two sides of the split."""

    code = "split_leaks"


class RecordingChanged(DatasetError):
    """A recording is missing or has changed since the dataset was indexed."""

    code = "recording_changed"


class FeaturesMissing(DatasetError):
    """Features were not extracted, or their file is incomplete."""

    code = "features_missing"


class MachineError(SignalMLError):
    """The record of a machine cannot be used."""

    code = "machine_error"


class MachineNotFound(MachineError):
    """There is no record of the machine: it was never recorded, or its record was deleted to make room."""

    code = "machine_not_found"


class NothingToAcknowledge(MachineError):
    """The machine is not in alarm, is in another alarm, or its alarm is acknowledged already."""

    code = "machine_nothing_to_acknowledge"


class InvalidRecordingTime(MachineError):
    """The stated time of a recording is not a time, is before the year 2000 or is in the future."""

    code = "recorded_at_invalid"


class MachinesUnavailable(MachineError):
    """The records of machines cannot be read or written."""

    code = "machines_unavailable"


class ListenerError(SignalMLError):
    """Live listening cannot be set up or read."""

    code = "listener_error"


class InvalidListenerConfig(ListenerError):
    """A source, a sink or their file has a value that cannot be used."""

    code = "listener_config_invalid"


class EntryExists(ListenerError):
    """There is a source or sink of this name already."""

    code = "entry_exists"


class EntryNotFound(ListenerError):
    """There is no source or sink of this name."""

    code = "entry_not_found"


class EventNotFound(ListenerError):
    """There is no event of this id."""

    code = "event_not_found"


class EventConflict(ListenerError):
    """The event of this id is known from another device, or about another machine."""

    code = "event_conflict"


class ClipNotFound(ListenerError):
    """The event has no clip, or it was deleted to make room."""

    code = "clip_not_found"


class EventsUnavailable(ListenerError):
    """The events cannot be read or written."""

    code = "events_unavailable"


class ListenerNotRunning(ListenerError):
    """No listener runs in this home, or it does not answer."""

    code = "listener_not_running"


class ListenerRunsAlready(ListenerError):
    """Another listener runs in this home."""

    code = "listener_runs_already"


class ProgramMissing(ListenerError):
    """A program that a source needs is not installed."""

    code = "program_missing"


class DeliveryFailed(ListenerError):
    """A sink did not take an alert."""

    code = "delivery_failed"

    def __init__(self, message: str, permanent: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent  # the receiver refuses this alert for good: another attempt is useless
        self.retry_after_s = retry_after_s  # the receiver wants no attempt before


class InvalidParameter(SignalMLError):
    """A number or an option has a value that cannot be used."""

    code = "parameter_invalid"


class IdempotencyConflict(SignalMLError):
    """The Idempotency-Key was used before for another request."""

    code = "idempotency_conflict"


class ProcessLost(SignalMLError):
    """A process of a parallel map was killed from outside, most likely because memory was full."""

    code = "process_lost"


class StorageFull(SignalMLError):
    """The disk has too little free space."""

    code = "storage_full"


class DownloadError(SignalMLError):
    """The archive cannot be downloaded."""

    code = "download_error"


class DownloadFailed(DownloadError):
    """The server does not answer, or does not send the requested file."""

    code = "download_failed"


class DownloadDamaged(DownloadError):
    """The archive does not match its checksum, or cannot be unpacked."""

    code = "download_damaged"


class Cancelled(SignalMLError):
    """The work was cancelled; no incomplete result was left."""

    code = "cancelled"


class MissingExtra(SignalMLError):
    """An optional package is needed and is not installed."""

    code = "extra_missing"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs TensorFlow or another missing package: run  pip install 'signalml[{extra}]'")
