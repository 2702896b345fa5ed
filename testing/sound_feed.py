"""Sound in real time, for microphones, streams and named pipes of tests."""

import os
import threading
import time
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from testing.programs import PatientWriter
from testing.servers import PATIENCE_S

RATE_HZ = 16_000
CHUNK_S = 0.02
Samples = NDArray[np.int16]
Output = Callable[[bytes], object]


class SoundFeed:
    """Sound in real time, as a microphone gives it: into programs, named pipes or functions.

    Args:
        sounds: sounds by name, int16 ``(samples,)``; each is repeated. All go on while another one plays.
        outputs: get the samples of 20 ms at a time, as bytes. More can be added at any time.
        rate_hz: sample rate.
    """

    def __init__(self, sounds: Mapping[str, Samples], *outputs: Output, rate_hz: int = RATE_HZ) -> None:
        self._sounds, self.outputs = sounds, list(outputs)
        self._chunk = round(CHUNK_S * rate_hz)
        self._wanted: str | None = None
        self._changed, self._stopped = threading.Event(), threading.Event()
        self._changed_at = 0.0
        self._thread = threading.Thread(target=self._run, name="sound-feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def play(self, name: str | None) -> float:
        """Change the sound; None is no sample at all.

        Returns:
            Time of the first sample of the new sound, in seconds since 1970.
        """
        self._wanted = name
        self._changed.clear()
        assert self._changed.wait(PATIENCE_S)
        return self._changed_at

    def wait(self, seconds: float) -> None:
        """Let it play for so long."""
        self._stopped.wait(seconds)

    def _run(self) -> None:
        playing, position, due = None, 0, time.monotonic()
        while not self._stopped.is_set():
            if not self._changed.is_set():
                playing, self._changed_at = self._wanted, time.time()
                self._changed.set()
            due += CHUNK_S
            self._stopped.wait(max(0.0, due - time.monotonic()))
            places, position = range(position, position + self._chunk), position + self._chunk
            if playing is None:
                continue
            data = self._sounds[playing].take(places, mode="wrap").astype("<i2").tobytes()
            for output in list(self.outputs):
                output(data)


class NamedPipe:
    """Writer of a named pipe. What is written while nobody reads is dropped."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, -1
        if not path.exists():
            os.mkfifo(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Write samples."""
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
                self._writer = PatientWriter(self._file)
            self._writer.write(data)
        except OSError:  # nobody reads
            self.close()

    def close(self) -> None:
        """Close it, as a writer that ends; :meth:`write` opens it again."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


class FolderRecorder:
    """Recorder that writes files of some seconds, whole and one after the other.

    Args:
        folder: where it writes.
        seconds: length of a file.
        rate_hz: sample rate.
    """

    def __init__(self, folder: Path, seconds: float = 1.0, rate_hz: int = RATE_HZ) -> None:
        self._folder, self._rate_hz = folder, rate_hz
        self._length = round(seconds * rate_hz) * 2
        self._data, self._number = b"", 0
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, data: bytes) -> None:
        """Record samples."""
        self._data += data
        while len(self._data) >= self._length:
            self._number += 1
            target = self._folder / f"{self._number:06}.wav"
            hidden = target.with_name(f".{target.name}")
            with wave.open(str(hidden), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(self._rate_hz)
                file.writeframes(self._data[: self._length])
            hidden.rename(target)
            self._data = self._data[self._length :]
