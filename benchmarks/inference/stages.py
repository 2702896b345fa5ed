"""The stages of one answer in process, each beside a floor: what no program of this kind could be faster than here.

| stage | floor |
|---|---|
| decode and mix | reading every sample of the file once |
| resample | two operations for each tap of each output, at the speed of the best matrix product of one core |
| log-mel | the FFT alone, of frames that lie ready |
| cepstrum and fit | the operations of the DCT's product, at the same speed |
| network | LiteRT's ``invoke`` alone |

All on one thread, as the service computes one recording.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from benchmarks.inference.samples import BenchmarkRecording, read_recordings
from ml.audio.resampling import FILTERS
from ml.classifier.litert import LiteRTNetwork
from ml.features.extractor import FRAMES_PER_BLOCK, FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.models.registry import Registry

SGEMM_SIZES = (256, 512, 1024)


class Stage(NamedTuple):
    """A name, the work and its floor: each a function of which recording, or a constant time in seconds."""

    name: str
    work: Callable[[int], object]
    floor: Callable[[int], object] | float


class Stages:
    """Everything that the stages need, made ready once.

    Args:
        data: folder with ``seed/`` in it.
        home: of the model registry, with a champion in it.
    """

    def __init__(self, data: Path, home: Path) -> None:
        self._samples = read_recordings(data)
        self._stages = _stages(self._samples, home)

    def measure(self, seconds: float) -> dict[str, Any]:
        """Time stages and floors in turn for about ``seconds``; medians over the recordings, in ms."""
        gflops = sgemm_gflops()
        times: dict[str, list[float]] = {}
        rounds = 0
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            which = rounds % len(self._samples)
            for stage in self._stages:
                times.setdefault(stage.name, []).append(_time(stage.work, which))
                if callable(stage.floor):
                    times.setdefault(f"{stage.name} floor", []).append(_time(stage.floor, which))
            rounds += 1
        return {"n": rounds, "sgemm_gflops": gflops, "stages": [_row(s, times, gflops) for s in self._stages]}


def _row(stage: Stage, times: dict[str, list[float]], gflops: float) -> dict[str, Any]:
    floor_s = median(times[f"{stage.name} floor"]) if callable(stage.floor) else stage.floor / (gflops * 1e9)
    return {"stage": stage.name, "ms": median(times[stage.name]) * 1e3, "floor_ms": floor_s * 1e3}


def _stages(samples: Sequence[BenchmarkRecording], home: Path) -> tuple[Stage, ...]:
    predictor = Registry(home).load_predictor("champion")
    content = predictor.model.bundle.content
    spec, extractor, network = content.spec, FeatureExtractor(content.spec), LiteRTNetwork(content.litert)

    def features(log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        return extractor.pad_or_crop(extractor.coefficients(log_mel))

    recordings = [predictor.decode(sample.content) for sample in samples]
    sounds = [extractor.resample(recording.samples, recording.sample_rate_hz) for recording in recordings]
    log_mels = [extractor.log_mel(sound) for sound in sounds]
    clips = [features(log_mel)[None, :, :, None] for log_mel in log_mels]
    coded = [np.frombuffer(sample.content, np.int16) for sample in samples]
    frames = [_frames(sound, spec) for sound in sounds]
    interpreter = Interpreter(model_content=content.litert, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], clips[0])
    return (
        Stage("decode and mix", lambda i: predictor.decode(samples[i].content), lambda i: coded[i].max()),
        Stage(
            "resample",
            lambda i: extractor.resample(recordings[i].samples, recordings[i].sample_rate_hz),
            2.0 * 2 * FILTERS[spec.resampler].zero_crossings * len(sounds[0]),
        ),
        Stage("log-mel", lambda i: extractor.log_mel(sounds[i]), lambda i: _transform(frames[i])),
        Stage("cepstrum and fit", lambda i: features(log_mels[i]), 2.0 * spec.rows * log_mels[0].size),
        Stage("network", lambda i: network(clips[i]), lambda _: interpreter.invoke()),
    )


def _frames(sound: NDArray[np.float32], spec: FeatureSpec) -> list[NDArray[np.float32]]:
    """Frames that lie ready one after the other, in blocks that stay in a core's cache."""
    padded = np.pad(sound, spec.n_fft // 2)
    view = np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: spec.hop_length]
    return [np.ascontiguousarray(view[at : at + FRAMES_PER_BLOCK]) for at in range(0, len(view), FRAMES_PER_BLOCK)]


def _transform(blocks: Sequence[NDArray[np.float32]]) -> None:
    for block in blocks:
        scipy.fft.rfft(block)


def sgemm_gflops() -> float:
    """The best that one core does in a product of square float32 matrices, in 1e9 operations per second."""
    best = 0.0
    for size in SGEMM_SIZES:
        matrix = np.random.default_rng(0).standard_normal((size, size), np.float32)
        out = np.empty_like(matrix)
        # mypy has no type for a lambda with defaults.
        fastest = min(_time(lambda _, a=matrix, b=out: np.matmul(a, a, out=b), 0) for _ in range(10))  # type: ignore[misc]  # a lambda with defaults
        best = max(best, 2 * size**3 / fastest / 1e9)
    return best


def _time(work: Callable[[int], object], which: int) -> float:
    before = time.perf_counter()
    work(which)
    return time.perf_counter() - before
