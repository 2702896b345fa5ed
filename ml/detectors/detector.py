"""Engines and what they have learned, as one detector: a clip in, how far it is from healthy out.

**Scale.** What an engine measures is divided by what healthy recordings measure that it had not learned from, the
machine's own and those of all machines in equal parts (their geometric mean): 1 is as far as a healthy recording
typically is, whatever the engine and the machine.

**Ensemble.** The engine that is farthest out speaks. An anomaly need only show in one way, and a mean of engines would
bury it under those that hear nothing; the rule needs no anomalies to be chosen or weighted (decision 14).

**Machine.** A clip is compared with the machine it is said to be of; one of a machine that was never heard, or of none
that is named, with whichever known machine it is most like.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.audio.recording import AudioQuality
from ml.detectors.engines.engine import Engine, EngineState
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.out_of_domain import OutOfDomainCheck
from ml.detectors.quality_checks import UnusableReason, check_out_of_domain, check_quality
from ml.detectors.reference import Deviations, Reference
from ml.detectors.spectra import Spectra, compute_spectra
from ml.errors import BundleDamaged, InvalidParameter, SpecError
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.system.zip_members import ZIP_ERRORS


@dataclass(frozen=True, slots=True)
class Novelty:
    """How far one clip is from healthy.

    Attributes:
        relative_distance: how many times as far as a healthy recording typically is, above 0.
        engine: the engine that says so.
        machine: the machine that the clip was compared with.
    """

    relative_distance: float
    engine: str
    machine: str

    @property
    def score(self) -> float:
        """The same between 0 and 1: 0.5 is as far as a healthy recording typically is, 0.9 nine times as far."""
        return self.relative_distance / (1 + self.relative_distance)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Scores of healthy recordings, each given by engines that had not learned from it: what thresholds rest on.

    Attributes:
        named: ``(recordings,)``, compared with their own machine.
        unnamed: ``(recordings,)``, compared with whichever machine they were most like.
        session: ``(recordings,)``, the session that each is of, counted from 0.
    """

    named: NDArray[np.float64]
    unnamed: NDArray[np.float64]
    session: NDArray[np.int64]


@dataclass(frozen=True)
class Detector:
    """A fitted detector. Holds nothing that changes: any number of threads may ask it.

    Attributes:
        spec: how a clip becomes spectra.
        engines: which listen.
        states: what each has learned.
        machines: names of the machines, ``fan/id_00``; one empty name where the recordings name none.
        scales: ``(engines, machines)``, what each measures on a healthy recording.
        calibration: scores of healthy recordings.
        reference: what healthy recordings sounded like.
        out_of_domain: against sound that is no machine.
    """

    spec: FeatureSpec
    engines: tuple[Engine, ...]
    states: tuple[EngineState, ...]
    machines: tuple[str, ...]
    scales: NDArray[np.float64]
    calibration: Calibration
    reference: Reference
    out_of_domain: OutOfDomainCheck

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """The transform that its spec names."""
        return FeatureExtractor(self.spec)

    def compute_spectra(self, clip: NDArray[np.float32]) -> Spectra:
        """The spectra of a clip: float32 samples at the spec's rate."""
        return compute_spectra(self.extractor, clip)

    def resolve_machine(self, machine: str | None) -> str | None:
        """The machine that is meant: by its whole name, or by its id where only one machine has it; else None."""
        if machine is None:
            return None
        if machine in self.machines:
            return machine
        alike = [name for name in self.machines if name.rpartition("/")[2] == machine]
        return alike[0] if len(alike) == 1 else None

    def measure(self, spectra: Spectra, machine: str | None = None) -> Novelty:
        """How far a clip is from healthy.

        Args:
            spectra: its spectra.
            machine: the machine that it is of, where that is known.
        """
        times = measure_distances(self.engines, self.states, spectra) / self.scales
        farthest, known = times.max(axis=0), self.resolve_machine(machine)
        index = int(farthest.argmin()) if known is None else self.machines.index(known)
        engine = self.engines[int(times[:, index].argmax())]
        return Novelty(float(farthest[index]), engine.name, self.machines[index])

    def deviations(self, spectra: Spectra, novelty: Novelty, level_dbfs: float | None) -> Deviations:
        """Why a clip was judged as it was: held against the machine that it was compared with."""
        return self.reference.deviations(self.spec, spectra, self.machines.index(novelty.machine), level_dbfs)

    def check_quality(self, quality: AudioQuality, clips: Sequence[Spectra]) -> UnusableReason | None:
        """Why a recording cannot be judged; None where it can."""
        return check_quality(quality, clips, self.reference, self.spec)

    def check_out_of_domain(self, clips: Sequence[Spectra], machine: str | None = None) -> UnusableReason | None:
        """Why a recording is taken for no machine's, whatever its spectrum; None where it may be one's."""
        known = self.resolve_machine(machine)
        index = None if known is None else self.machines.index(known)
        return check_out_of_domain(max(self.out_of_domain.relative_fluctuation(clip, index) for clip in clips))

    # Files

    def to_bytes(self) -> tuple[bytes, bytes]:
        """What is said of it, as JSON, and its arrays, as an archive that holds nothing but numbers."""
        facts = {
            "spec": self.spec.to_dict(),
            "engines": [engine.name for engine in self.engines],
            "machines": list(self.machines),
            "recordings": list(self.reference.names),
        }
        arrays: dict[str, NDArray[Any]] = {
            f"{engine.name}/{name}": array
            for engine, state in zip(self.engines, self.states, strict=True)
            for name, array in state.items()
        }
        arrays |= {"scales": self.scales}
        arrays |= {f"calibration/{name}": getattr(self.calibration, name) for name in CALIBRATION_ARRAYS}
        arrays |= {f"guard/{name}": array for name, array in self.out_of_domain.state.items()}
        arrays |= {"guard_scales": self.out_of_domain.scales, "guard_most": self.out_of_domain.most}
        arrays |= {f"reference/{name}": array for name, array in self.reference.to_arrays().items()}
        archive = io.BytesIO()
        np.savez_compressed(archive, allow_pickle=False, **arrays)
        return json.dumps(facts, indent=2).encode() + b"\n", archive.getvalue()

    @classmethod
    def from_bytes(cls, facts: bytes, arrays: bytes) -> Self:
        """The inverse of :meth:`to_bytes`; nothing is executed to read one.

        Raises:
            BundleDamaged: not what a detector is written as.
        """
        try:
            described = json.loads(facts)
            # An array of Python objects would be unpickled, which runs code: numpy refuses it unless asked.
            with np.load(io.BytesIO(arrays), allow_pickle=False) as archive:
                held = {name: archive[name] for name in archive.files}
            engines = tuple(engine_by_name(name) for name in described["engines"])
            detector = cls(
                spec=FeatureSpec.from_dict(described["spec"]),
                engines=engines,
                states=tuple(_below(engine.name, held) for engine in engines),
                machines=tuple(map(str, described["machines"])),
                scales=held["scales"],
                calibration=Calibration(*(held[f"calibration/{name}"] for name in CALIBRATION_ARRAYS)),
                reference=Reference.from_arrays(described["recordings"], _below("reference", held)),
                out_of_domain=OutOfDomainCheck(_below("guard", held), held["guard_scales"], held["guard_most"]),
            )
            if detector.scales.shape != (len(engines), len(detector.machines)) or not (detector.scales > 0).all():
                raise ValueError(f"its scales have the shape {detector.scales.shape}, or are not above 0")
            if set(detector.reference.machine.tolist()) != set(range(len(detector.machines))):
                raise ValueError("its reference has other machines")
            calibration = [getattr(detector.calibration, name) for name in CALIBRATION_ARRAYS]
            if len({len(each) for each in calibration}) > 1 or not all(np.isfinite(each).all() for each in calibration):
                raise ValueError("its calibration is not one number for each recording")
            silent = detector.compute_spectra(np.zeros(detector.spec.clip_samples, np.float32))
            detector.deviations(silent, detector.measure(silent), None)
            detector.check_out_of_domain([silent], detector.machines[-1])
        except (
            *ZIP_ERRORS,
            AttributeError,
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            OSError,
            SpecError,
            InvalidParameter,
        ) as error:
            raise BundleDamaged(f"The detector cannot be read: {error}") from error
        return detector


CALIBRATION_ARRAYS = ("named", "unnamed", "session")


def _below(folder: str, held: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    prefix = f"{folder}/"
    return {name.removeprefix(prefix): array for name, array in held.items() if name.startswith(prefix)}


def measure_distances(
    engines: Sequence[Engine], states: Sequence[EngineState], spectra: Spectra
) -> NDArray[np.float64]:
    """What each engine measures against each machine, unscaled: ``(engines, machines)``."""
    return np.stack([engine.distances(state, spectra) for engine, state in zip(engines, states, strict=True)])
