"""Sound in real time, for microphones, streams and named pipes of tests."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from testing.servers import PATIENCE_S

RATE_HZ = 16_000
CHUNK_S = 0.02
Samples = NDArray[np.int16]
Output = Callable[[bytes], object]


class SoundFeed:
    """Sound in real time, as a microphone gives it: into programs, named pipes or functions.

    Args:
        sounds: sounds by name, int16 ``(samples,)``; each is repeated.
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

    def _run(self) -> None:
        playing, position, due = None, 0, time.monotonic()
        while not self._stopped.is_set():
            if not self._changed.is_set():
                playing, position, self._changed_at = self._wanted, 0, time.time()
                self._changed.set()
            due += CHUNK_S
            self._stopped.wait(max(0.0, due - time.monotonic()))
            if playing is None:
                continue
            samples = self._sounds[playing]
            data = samples.take(range(position, position + self._chunk), mode="wrap").astype("<i2").tobytes()
            position += self._chunk
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
        """Write at most 4096 bytes, all or none."""
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            os.write(self._file, data)
        except BlockingIOError:
            return
        except OSError:  # nobody reads
            self.close()

    def close(self) -> None:
        """Close it, as a writer that ends; :meth:`write` opens it again."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
