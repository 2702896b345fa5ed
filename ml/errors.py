"""Everything that can be refused or go wrong, by name.

::

    SignalMLError
    ├── AudioError                 a recording is refused
    │   ├── EmptyAudio
    │   ├── NotAudio
    │   ├── UnsupportedCodec
    │   ├── MalformedAudio
    │   ├── TruncatedAudio
    │   ├── UnsupportedSampleRate
    │   ├── TooManyChannels
    │   ├── ChannelNotFound
    │   ├── RecordingTooLong
    │   ├── RecordingTooShort
    │   ├── UnpackedTooLarge
    │   └── NotFinite
    ├── SpecError                  a feature spec contradicts itself
    ├── ModelError                 a model cannot be read, trusted or served
    │   ├── ImportRefused
    │   ├── BundleDamaged
    │   ├── BundleForeign
    │   ├── GoldenClipFailed
    │   ├── ModelNotFound
    │   ├── ReportNotFound
    │   ├── AliasNotSet
    │   ├── AliasReserved
    │   ├── ChampionChanged
    │   ├── InvalidLabels
    │   └── ModelNotCalibrated
    ├── DatasetError               recordings cannot be learned from as they lie
    │   ├── DatasetNotFound
    │   ├── DatasetEmpty
    │   ├── DatasetExists
    │   ├── DatasetReadOnly
    │   ├── DatasetVersionNotFound
    │   ├── RecordingNotFound
    │   ├── RecordingLabelsInvalid
    │   ├── ManifestInvalid
    │   ├── InvalidName
    │   ├── OneClassOnly
    │   ├── TooFewRecordings
    │   ├── SplitImpossible
    │   ├── LeakingSplit
    │   ├── RecordingChanged
    │   └── FeaturesMissing
    ├── MachineError               what was heard of a machine over time cannot be told
    │   ├── MachineNotFound
    │   ├── NothingToAcknowledge
    │   └── MachinesUnavailable
    ├── InvalidParameter           a number or a choice that this work cannot be done with
    ├── ProcessLost                a process that shared the work was killed
    ├── StorageFull                the disk has no room for what is to be written
    ├── DownloadError              an archive cannot be had
    │   ├── DownloadFailed
    │   └── DownloadDamaged
    ├── Cancelled                  work stopped because somebody asked for it
    └── MissingExtra               an optional part of the project is not installed

Each class has a stable ``code`` that clients may rely on. The message is one sentence that says what was found and what
was expected. Nothing here knows about HTTP.
"""

from typing import ClassVar


class SignalMLError(Exception):
    """Root of the tree. ``code`` never changes once released."""

    code: ClassVar[str] = "signalml_error"


class AudioError(SignalMLError):
    """The bytes are not a recording that can be judged."""

    code = "audio_refused"


class EmptyAudio(AudioError):
    """There are no bytes, or a header without a single sample."""

    code = "audio_empty"


class NotAudio(AudioError):
    """Neither WAV nor FLAC."""

    code = "audio_not_recognised"


class UnsupportedCodec(AudioError):
    """A WAV or FLAC whose samples are coded in a way that is not accepted."""

    code = "audio_codec_unsupported"


class MalformedAudio(AudioError):
    """The header contradicts itself, or the coded samples do not decode."""

    code = "audio_malformed"


class TruncatedAudio(AudioError):
    """The header promises more samples than there are."""

    code = "audio_truncated"


class UnsupportedSampleRate(AudioError):
    """The sample rate lies outside the accepted range."""

    code = "audio_sample_rate_unsupported"


class TooManyChannels(AudioError):
    """More channels than accepted."""

    code = "audio_too_many_channels"


class ChannelNotFound(AudioError):
    """The model listens to one channel, and this recording does not have it."""

    code = "audio_channel_not_found"


class RecordingTooLong(AudioError):
    """Longer than the limit."""

    code = "audio_too_long"


class RecordingTooShort(AudioError):
    """Shorter than the limit."""

    code = "audio_too_short"


class UnpackedTooLarge(AudioError):
    """Would take more memory, once unpacked, than one recording may."""

    code = "audio_unpacked_too_large"


class NotFinite(AudioError):
    """Samples that are NaN, infinite or beyond any plausible full scale."""

    code = "audio_not_finite"


class SpecError(SignalMLError):
    """A feature spec that contradicts itself or names what does not exist."""

    code = "spec_invalid"


class ModelError(SignalMLError):
    """A model cannot be read, trusted or served."""

    code = "model_error"


class ImportRefused(ModelError):
    """A foreign model file that is not the network it should be."""

    code = "model_import_refused"


class BundleDamaged(ModelError):
    """A bundle whose content is not what its manifest says."""

    code = "model_bundle_damaged"


class BundleUnrecognised(ModelError):
    """Not a bundle, or one of a format this version cannot read."""

    code = "model_bundle_foreign"


class GoldenClipFailed(ModelError):
    """A bundle that does not answer its own golden clip as it did when it was written."""

    code = "model_golden_clip_failed"


class ModelNotFound(ModelError):
    """No such version in the registry."""

    code = "model_not_found"


class ReportNotFound(ModelError):
    """The version has no report: it was not trained in this home."""

    code = "model_report_not_found"


class AliasNotSet(ModelError):
    """The alias points to no version."""

    code = "model_alias_not_set"


class AliasReserved(ModelError):
    """The alias is kept by the registry and cannot be set."""

    code = "model_alias_reserved"


class ChampionChanged(ModelError):
    """Another model became champion while one was compared with the champion before."""

    code = "model_champion_changed"


class InvalidClassLabels(ModelError):
    """Labels that do not fit the network they are meant for."""

    code = "model_labels_invalid"


class ModelNotCalibrated(ModelError):
    """A threshold was asked for by a false-alarm rate, of a model without scores of healthy recordings."""

    code = "model_not_calibrated"


class DatasetError(SignalMLError):
    """Recordings that cannot be learned from as they lie."""

    code = "dataset_refused"


class DatasetNotFound(DatasetError):
    """There is no such dataset, folder or manifest."""

    code = "dataset_not_found"


class DatasetEmpty(DatasetError):
    """There is no readable recording in it."""

    code = "dataset_empty"


class DatasetExists(DatasetError):
    """There is a dataset of that name already."""

    code = "dataset_exists"


class DatasetReadOnly(DatasetError):
    """A folder that was laid there by hand: jobs read it, its recordings are not managed here."""

    code = "dataset_read_only"


class DatasetVersionNotFound(DatasetError):
    """The dataset has not had that version."""

    code = "dataset_version_not_found"


class RecordingNotFound(DatasetError):
    """There is no such recording in the dataset."""

    code = "recording_not_found"


class InvalidRecordingLabels(DatasetError):
    """Labels of a recording that mean nothing, or contradict each other."""

    code = "recording_labels_invalid"


class InvalidManifest(DatasetError):
    """A manifest that lacks a column, or holds a value that means nothing."""

    code = "dataset_manifest_invalid"


class InvalidName(DatasetError):
    """A name that could not be, or must not become, the name of a folder."""

    code = "name_invalid"


class OneClassOnly(DatasetError):
    """Recordings of healthy machines only, or of faults only, where both are needed."""

    code = "dataset_one_class"


class TooFewRecordings(DatasetError):
    """Fewer recordings than there must be on each side of a split."""

    code = "dataset_too_small"


class SplitImpossible(DatasetError):
    """The recordings cannot be split in the way that was asked for."""

    code = "split_impossible"


class LeakingSplit(DatasetError):
    """A split with the same recording, block or session on two sides."""

    code = "split_leaks"


class RecordingChanged(DatasetError):
    """A recording that is no longer what the index says."""

    code = "recording_changed"


class FeaturesMissing(DatasetError):
    """Features that were not extracted, or not written whole."""

    code = "features_missing"


class MachineError(SignalMLError):
    """What was heard of a machine over time cannot be told."""

    code = "machine_error"


class MachineNotFound(MachineError):
    """Nothing was ever heard of such a machine, or it was so long ago that it is forgotten."""

    code = "machine_not_found"


class NothingToAcknowledge(MachineError):
    """The machine is not in alarm, is in another one, or somebody has acknowledged it already."""

    code = "machine_nothing_to_acknowledge"


class MachinesUnavailable(MachineError):
    """The record of machines cannot be read or written."""

    code = "machines_unavailable"


class InvalidParameter(SignalMLError):
    """A number or a choice that this work cannot be done with."""

    code = "parameter_invalid"


class ProcessLost(SignalMLError):
    """A process that shared the work was killed from outside, most likely for want of memory."""

    code = "process_lost"


class StorageFull(SignalMLError):
    """The disk has no room for what is to be written."""

    code = "storage_full"


class DownloadError(SignalMLError):
    """An archive cannot be had."""

    code = "download_error"


class DownloadFailed(DownloadError):
    """The server does not answer, or not with what was asked for."""

    code = "download_failed"


class DownloadDamaged(DownloadError):
    """An archive that is not the one its checksum promises, or does not unpack."""

    code = "download_damaged"


class Cancelled(SignalMLError):
    """Work stopped because somebody asked for it; nothing half-done was left."""

    code = "cancelled"


class MissingExtra(SignalMLError):
    """An optional part of the project is needed and not installed."""

    code = "extra_missing"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs TensorFlow or another missing package: run  pip install 'signalml[{extra}]'")
