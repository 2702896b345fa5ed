"""The one loop over many recordings: each file is decoded in a bounded number of processes, and a function is applied.

Scoring, judging, spectra and features all go through it, so that errors, gains and order are the same everywhere.
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
    """A named pipe or a device."""


@dataclass(frozen=True, slots=True)
class AudioFile(Generic[Context]):
    """A recording to be decoded.

    Attributes:
        path: the file.
        context: what the function needs to know beside the samples; picklable.
        name: the sentence of an error begins with it; empty for no name.
        gain_db: the samples are made louder or softer by so much, in floating point, so that nothing is clipped.
    """

    path: Path
    context: Context
    name: str = ""
    gain_db: float = 0.0

    def decode(self, channel: Channel) -> Recording:
        """Decode the file.

        Raises:
            AudioError: it is no recording.
            NotARegularFile: it is a named pipe or a device, which a reader would wait for without end.
            OSError: it cannot be read.
        """
        if self.path.exists() and not self.path.is_file():
            raise NotARegularFile(f"{self.name or self.path} is neither a file nor a folder.")
        try:
            recording = decode(self.path, channel=channel)
        except AudioError as error:
            if not self.name:
                raise
            raise type(error)(f"{self.name}: {error}") from error
        if not self.gain_db:
            return recording
        return replace(recording, samples=recording.samples * np.float32(10 ** (self.gain_db / 20)))


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
        function: takes the recording and the file's context; picklable.
        files: the recordings.
        channel: of each recording: ``mean`` of all, or one by its index.
        step: the name of this work in progress reports.
        processes: how many; 1 works in this one; None decides by cores and recordings.
        report: told after each recording.
        on_error: makes a result of a file that cannot be decoded; None raises the error.

    Yields:
        A result for each file, in their order.

    Raises:
        AudioError: a file is no recording, with its name.
        OSError: a file cannot be read.
        ProcessLost: a process was killed.
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
    """What :func:`map_recordings` does with one file."""
    try:
        recording = file.decode(channel)
    except (AudioError, OSError) as error:
        if on_error is None:
            raise
        return on_error(error, file.context)
    return function(recording, file.context)
