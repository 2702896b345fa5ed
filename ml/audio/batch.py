"""Loop over many recordings: decode each file, in several processes, and apply a function to it.

Scoring, spectra and features all use this loop. So errors, gains and order are the same everywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from ml.audio.decode import decode
from ml.audio.recording import Channel, Recording
from ml.errors import AudioError
from ml.system.parallel import ordered_map
from ml.system.progress import ProgressCallback, ignore_progress

Context = TypeVar("Context")
Result = TypeVar("Result")
OnError = Callable[[AudioError | OSError, Context], Result]


class NotARegularFile(OSError):
    """The path exists and is not a file: a folder, a named pipe or a device."""


@dataclass(frozen=True, slots=True)
class AudioFile(Generic[Context]):
    """File to decode.

    Attributes:
        path: the file.
        context: what the applied function needs in addition to the samples; picklable.
        name: prefix of error messages; empty for no prefix.
        gain_db: change of level in dB: samples are multiplied by ``10 ** (gain_db / 20)``, as float32 and not clipped.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        ...     soundfile.write(file.name, np.full(16_000, 0.5), 16_000)
        ...     recording = AudioFile(Path(file.name), context=None, gain_db=-6.0).decode("mean")
        >>> recording.samples.shape, round(recording.samples[0].item(), 3)
        ((16000,), 0.251)
    """

    path: Path
    context: Context
    name: str = ""
    gain_db: float = 0.0

    def decode(self, channel: Channel) -> Recording:
        """Decode the file and apply the gain; ``quality`` describes the recording without the gain.

        Raises:
            AudioError: the file is not a recording that can be used.
            NotARegularFile: the path is no file; reading a named pipe or a device could block forever.
            OSError: the file cannot be read.
        """
        if self.path.exists() and not self.path.is_file():
            raise NotARegularFile(f"{self.name or self.path} is not a regular file.")
        try:
            recording = decode(self.path, channel=channel)
        except AudioError as error:
            if not self.name:
                raise
            raise type(error)(f"{self.name}: {error}") from error
        if not self.gain_db:
            return recording
        gain, reference = np.float32(10 ** (self.gain_db / 20)), recording.reference
        return replace(
            recording,
            samples=recording.samples * gain,
            reference=None if reference is None else reference * gain,
        )


def map_recordings(
    function: Callable[[Recording, Context], Result],
    files: Sequence[AudioFile[Context]],
    *,
    channel: Channel,
    step: str,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
    on_error: OnError[Context, Result] | None = None,
) -> Iterator[Result]:
    """Decode each file and apply a function to its recording.

    Args:
        function: called with the recording and the file's context; picklable.
        files: the files.
        channel: channel of each recording, or a pair of channels, as of :attr:`FeatureSpec.used_channels`.
        step: name of this work in progress reports.
        processes: number of processes; 1 works in this process; None decides by cores and files.
        report: called at the start and after each recording.
        on_error: returns the result of a file that cannot be decoded; None raises the error.

    Yields:
        One result for each file, in the order of the files.

    Raises:
        AudioError: a file is not a recording that can be used; the message begins with the file's name, if it has one.
        OSError: a file cannot be read.
        ProcessLost: a process was killed.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        ...     soundfile.write(file.name, np.zeros(16_000), 16_000)
        ...     files = [AudioFile(Path(file.name), "fan/id_00")]
        ...     list(map_recordings(lambda r, name: (name, r.samples.shape), files, channel="mean", step="shapes"))
        [('fan/id_00', (16000,))]
    """
    apply = partial(apply_to_file, function, channel=channel, on_error=on_error)
    yield from ordered_map(apply, files, step=step, processes=processes, report=report)


def apply_to_file(
    function: Callable[[Recording, Context], Result],
    file: AudioFile[Context],
    *,
    channel: Channel,
    on_error: OnError[Context, Result] | None = None,
) -> Result:
    """Decode one file and apply a function to its recording, as :func:`map_recordings` does.

    Raises:
        AudioError, OSError: the file cannot be decoded or read, and ``on_error`` is None.

    Example:
        >>> missing = AudioFile(Path("missing.wav"), context="fan/id_00")
        >>> apply_to_file(print, missing, channel="mean", on_error=lambda error, name: (name, type(error).__name__))
        ('fan/id_00', 'FileNotFoundError')
    """
    try:
        recording = file.decode(channel)
    except (AudioError, OSError) as error:
        if on_error is None:
            raise
        return on_error(error, file.context)
    return function(recording, file.context)
