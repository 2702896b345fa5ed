"""Files of a detector, facts and arrays: other shapes, types and values, damaged headers, and changed bytes."""

import io
import json
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.fuzz.odd_values import change_value, json_text, mutate
from ml.detectors.calibration import Calibration
from ml.detectors.detector import Detector
from ml.detectors.detector_files import detector_from_bytes, detector_to_bytes
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import compute_spectra
from ml.errors import SignalMLError
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec

SPEC = FeatureSpec(
    sample_rate_hz=16_000,
    clip_frames=32,
    n_fft=512,
    hop_length=256,
    n_mels=64,
    fmax_hz=8000.0,
    padding="none",
    dynamic_range_db=None,
    reference_channel=1,
)
TYPES = ("f2", "f4", "f8", "i1", "i4", "i8", "u8", "c16", "U5", "S3", "?", "M8[s]", ">f8", "V4")
VALUES = (0.0, -1.0, 1e300, 1e-300, float("nan"), float("inf"), float("-inf"), 2.0**63)
HEADERS = (
    "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (300000000,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': [('a', '<f8')], 'fortran_order': True, 'shape': (), }",
    "(" * 5000,
    "-" * 60_000 + "1",
    "9" * 9000,
    "",
)


class DetectorFiles:
    """The two files of a detector: the length of the facts, the facts, and the arrays."""

    memory_bytes = 400_000_000

    def __init__(self) -> None:
        self._facts, self._arrays = detector_to_bytes(_detector())
        with np.load(io.BytesIO(self._arrays)) as archive:
            self._stored = {name: archive[name] for name in archive.files}

    def make(self, random: Random) -> bytes:
        """Return the bytes of both files."""
        facts = self._facts
        if random.random() < 0.4:
            facts = json_text(random, change_value(random, json.loads(facts)))
        what = random.random()
        arrays = self._arrays
        if what < 0.6:
            arrays = self._changed_arrays(random)
        elif what < 0.8:
            arrays = mutate(random, arrays, (b"PK\x03\x04", b"\x93NUMPY", b"\xff\xff\xff\xff"))
        return struct.pack(">I", len(facts)) + facts + arrays

    def _changed_arrays(self, random: Random) -> bytes:
        stored, raw = dict(self._stored), {}
        for _ in range(random.choice((1, 1, 3))):
            name, what = random.choice(list(stored)), random.random()
            if what < 0.1:
                del stored[name]
            elif what < 0.2:
                stored["odd/" + name] = stored[name]
            elif what < 0.35:
                raw[name] = (
                    _npy(random.choice(HEADERS)) if random.random() < 0.7 else mutate(random, _npy_of(stored[name]))
                )
            else:
                stored[name] = _changed(random, stored[name])
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in {*stored, *raw}:
                archive.writestr(f"{name}.npy", raw.get(name) or _npy_of(stored[name]))
        return content.getvalue()

    def check(self, data: bytes) -> str:
        """Read one detector; if it is accepted, it must measure silence and noise."""
        (length,) = struct.unpack(">I", data[:4])
        with np.errstate(all="ignore"):
            try:
                found = detector_from_bytes(data[4 : 4 + length], data[4 + length :])
            except SignalMLError as error:
                return error.code
            noise = np.random.default_rng(0).normal(0, 0.1, min(found.spec.clip_samples, 10**6)).astype(np.float32)
            for reference in (None, noise[::-1].copy()):
                clip = found.compute_spectra(noise, reference=reference)
                found.measure(clip)
                found.is_swapped([clip])
        return "accepted"

    def memory(self) -> int:
        """Return the resident memory of this process."""
        return int(psutil.Process(os.getpid()).memory_info().rss)


def _changed(random: Random, array: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(all="ignore"):
        return _cast_or_cut(random, array)


def _cast_or_cut(random: Random, array: NDArray[Any]) -> NDArray[Any]:
    what = random.randrange(6)
    try:
        if what == 0:
            return array.astype(random.choice(TYPES))
        if what == 1:
            return array[: random.randrange(3)] if array.ndim else array.reshape(1, 1)
        if what == 2:
            return np.concatenate([array] * random.choice((2, 50)))
        if what == 3:
            return array[None] if random.random() < 0.5 else array.ravel()
        if what == 4:
            return np.full_like(array, random.choice(VALUES))
        changed = array.copy()
        changed.flat[random.randrange(array.size)] = random.choice(VALUES)
    except (ValueError, TypeError, OverflowError, IndexError, RuntimeError):
        return array[..., :0] if array.ndim else array
    return changed


def _npy_of(array: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, allow_pickle=False)
    return content.getvalue()


def _npy(header: str) -> bytes:
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header.encode() + bytes(64)


def _detector() -> Detector:
    """A detector with a reference channel, fitted to eight recordings of a hall whose noise changes."""
    extractor, generator = FeatureExtractor(SPEC), np.random.default_rng(0)
    normal = []
    for number in range(8):
        colour = np.exp(generator.normal() * np.linspace(-1, 1, 16_001))
        hall = np.fft.irfft(np.fft.rfft(generator.normal(0, 0.1, 32_000)) * colour)
        main, reference = (hall + generator.normal(0, 0.03, hall.shape) for _ in range(2))
        pairs = ((main[start:stop], reference[start:stop]) for start, stop in SPEC.clip_spans(len(hall)))
        clips = tuple(
            compute_spectra(extractor, one.astype(np.float32), reference=other.astype(np.float32))
            for one, other in pairs
        )
        normal.append(NormalRecording(clips, "fan/id_00", str(number // 4)))
    scores = np.linspace(0, 0.9, 199)
    fitted = fit_detector(SPEC, [engine_by_name("spectrum-gaussian")], normal)
    if fitted.pair is None:
        raise RuntimeError(f"the reference channel of the made-up hall does not help: {fitted.benefit}")
    return replace(fitted, calibration=Calibration(scores, scores, np.arange(199) % 5))


@contextmanager
def open_target(folder: Path) -> Iterator[DetectorFiles]:  # noqa: ARG001 - nothing is written
    """Fit a detector."""
    yield DetectorFiles()
