"""From a recording's bytes to its answer without HTTP: one process for either way, told in turn to measure.

A process reads a line with a number of seconds, measures for so long, and writes what it measured as a line of JSON,
until its input ends. :class:`Worker` is the other end.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.inference.samples import REPOSITORY, BenchmarkRecording, default_data, read_recordings, weights

Answer = Callable[[bytes], str]
"""Bytes of a recording in, message out."""


class TimerProcess:
    """A process that measures one way when it is asked to.

    Args:
        way: a key of :data:`WAYS`.
        data: folder with ``seed/`` in it.
        home: of the model registry, with a champion in it.
    """

    def __init__(self, way: str, data: Path, home: Path) -> None:
        self._way = way
        command = [sys.executable, "-m", __name__, way, "--data", str(data.resolve()), "--home", str(home.resolve())]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def measure(self, seconds: float) -> dict[str, Any]:
        """What it measured in ``seconds``.

        Raises:
            RuntimeError: the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process that measures {self._way} ended; try it: python -m {__name__} {self._way}")
        measured: dict[str, Any] = json.loads(line)
        return measured

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def original(data: Path, _: Path) -> Callable[[float], dict[str, Any]]:
    """``librosa.load``, ``librosa.feature.mfcc``, ``model.predict``."""
    from benchmarks.inference import original as way

    model = way.build_model(weights(data))
    return _timer(lambda content: way.infer(model, io.BytesIO(content))["Details"]["Message"], read_recordings(data))


def original_called(data: Path, _: Path) -> Callable[[float], dict[str, Any]]:
    """The same with ``model(x)`` for ``model.predict(x)``: what one word changed would have brought the original."""
    from benchmarks.inference import original as way

    model = way.build_model(weights(data))

    def answer(content: bytes) -> str:
        clip = way.features(io.BytesIO(content)).reshape(1, way.ROWS, way.FRAMES, 1)
        message: str = way.answer(model(clip, training=False).numpy()[0])["Details"]["Message"]
        return message

    return _timer(answer, read_recordings(data))


def signalml(data: Path, home: Path) -> Callable[[float], dict[str, Any]]:
    """``Predictor.decode`` and ``Predictor.predict``."""
    from ml.models.registry import Registry

    predictor = Registry(home).load_predictor("champion")
    return _timer(
        lambda content: predictor.predict(predictor.decode(content)).worst.label.message, read_recordings(data)
    )


def stages(data: Path, home: Path) -> Callable[[float], dict[str, Any]]:
    """This service's stages, each beside its floor."""
    from benchmarks.inference.stages import Stages

    return Stages(data, home).measure


def _timer(answer: Answer, samples: Sequence[BenchmarkRecording]) -> Callable[[float], dict[str, Any]]:
    """Time ``answer`` on the recordings in turn, once it has answered each of them rightly.

    Raises:
        RuntimeError: it has not.
    """
    for sample in samples:
        if (message_found := answer(sample.content)) != sample.message:
            raise RuntimeError(f"{sample.name}: {message_found!r} instead of {sample.message!r}")

    def measure(seconds: float) -> dict[str, Any]:
        latencies: list[float] = []
        end = time.perf_counter() + seconds
        while (before := time.perf_counter()) < end:
            answer(samples[len(latencies) % len(samples)].content)
            latencies.append(round((time.perf_counter() - before) * 1e3, 4))
        return {"latencies_ms": latencies}

    return measure


WAYS = {
    "original": original,
    "original-called": original_called,
    "signalml": signalml,
    "stages": stages,
}


def main() -> None:
    """Measure for the time in each line of standard input."""
    parser = argparse.ArgumentParser(description="Measure one way in process; reads seconds, writes JSON, by the line.")
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--data", type=Path, default=default_data(), help="folder with seed/ in it")
    parser.add_argument("--home", type=Path, default=Path("var"), help="home of a model registry with a champion")
    options = parser.parse_args()
    if options.way in ("signalml", "stages"):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command signalml sets it, before numpy is imported
    measure = WAYS[options.way](options.data, options.home)
    for line in sys.stdin:
        print(json.dumps(measure(float(line))), flush=True)


if __name__ == "__main__":
    main()
