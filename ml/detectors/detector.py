"""Detector: fitted engines that measure how far a clip is from the normal recordings of a machine.

**Scale.** The distance of each engine is divided by a scale: ``scale = sqrt(own * pooled)``. ``own`` is the mean
distance of the normal recordings of the machine, ``pooled`` that of all normal recordings. Both come from engines that
have not learned from these recordings. The result is the relative distance: 1 is typical, for each engine and machine.

**Ensemble.** The largest relative distance of all engines counts. A fault may show in one engine only, and a mean over
engines would hide it. The maximum has no weights, so no abnormal recordings are needed to choose them (decision 14).

**Machine.** A clip is compared with the machine that the caller names. If the caller names none, or one that is not
known, the clip is compared with the most similar known machine.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from ml.audio.recording import AudioQuality
from ml.detectors.calibration import Calibration, OddRecording, RateHoldsFor
from ml.detectors.engines.engine import Engine, EngineState
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.out_of_domain import OutOfDomainCheck, SpectrumCheck
from ml.detectors.passband import Passband, find_passband, passband_below, relative_levels
from ml.detectors.quality_checks import check_out_of_domain, check_quality, check_spectrum, slightly_missing_bands
from ml.detectors.recorder_checks import UnusableReason
from ml.detectors.reference import Deviations, Reference
from ml.detectors.spectra import Spectra, compute_spectra
from ml.errors import BundleDamaged, InvalidParameter, SpecError
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.system.npz import read_arrays
from ml.system.zip_members import ZIP_ERRORS

# Chosen here: 100 times the largest that trainings of this project write.
MAX_ARRAYS_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Novelty:
    """Distance of one clip from the normal recordings of a machine.

    Attributes:
        relative_distance: distance divided by the typical distance of normal recordings, 0 or more; 1 is typical.
            Engines measure squared distances, so this is a ratio of squared distances.
        engine: name of the engine with the largest relative distance.
        machine: name of the machine that the clip was compared with.

    Example:
        >>> Novelty(9.0, "distance", "fan/id_00").score
        0.9
    """

    relative_distance: float
    engine: str
    machine: str

    @property
    def score(self) -> float:
        """Score from 0 to 1: ``r / (1 + r)`` with the relative distance ``r``; 0.5 is typical."""
        return self.relative_distance / (1 + self.relative_distance)


@dataclass(frozen=True)
class Detector:
    """A fitted detector. It is immutable, so several threads can use it at once.

    Attributes:
        spec: feature spec that the spectra are computed with.
        engines: the scoring methods.
        states: what each engine has learned, in the order of ``engines``.
        machines: machine names such as ``fan/id_00``; one empty name if the recordings name no machine.
        scales: float64 ``(engines, machines)``, above 0: typical distance of normal recordings.
        calibration: scores of normal recordings.
        reference: summary of the normal recordings.
        out_of_domain: check for sound that comes from no machine.
        odd_recordings: normal recordings that stand apart from their session.
        contrast: for each engine that was fitted, how much farther other machines are than the own one
            (:func:`ml.detectors.engine_choice.machine_contrast`); some of these engines may have been left out. Empty
            with one machine, and for a detector of an earlier version.

    Example:
        >>> from ml.detectors.fitting import fit_detector
        >>> from ml.detectors.reference import NormalRecording
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32, n_mels=64)
        >>> noise = np.random.default_rng(1).normal(size=(7, spec.clip_samples)).astype(np.float32)
        >>> *normal, new = [compute_spectra(FeatureExtractor(spec), clip) for clip in noise]
        >>> recordings = [NormalRecording((spectra,), "fan/id_00", "monday") for spectra in normal]
        >>> detector = fit_detector(spec, [engine_by_name("distance")], recordings)
        >>> novelty = detector.measure(new, "id_00")
        >>> novelty.machine, novelty.engine, round(novelty.score, 1)
        ('fan/id_00', 'distance', 0.5)
        >>> Detector.from_bytes(*detector.to_bytes()).measure(new) == novelty
        True
    """

    spec: FeatureSpec
    engines: tuple[Engine, ...]
    states: tuple[EngineState, ...]
    machines: tuple[str, ...]
    scales: NDArray[np.float64]
    calibration: Calibration
    reference: Reference
    out_of_domain: OutOfDomainCheck
    odd_recordings: tuple[OddRecording, ...] = ()
    contrast: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """Feature extractor of the detector's spec."""
        return FeatureExtractor(self.spec)

    def compute_spectra(self, clip: NDArray[np.float32], kept: NDArray[np.bool_] | None = None) -> Spectra:
        """Compute the spectra of a clip.

        Args:
            clip: float32 ``(samples,)`` at the spec's sample rate, full scale -1 to 1.
            kept: which samples count, ``(samples,)``; None for all.
        """
        return compute_spectra(self.extractor, clip, kept)

    def resolve_machine(self, machine: str | None) -> str | None:
        """Return the full name of a machine.

        Args:
            machine: the full name, or the id alone if only one machine has it.

        Returns:
            The full name; None for None, an unknown name or an ambiguous id.
        """
        if machine is None:
            return None
        if machine in self.machines:
            return machine
        matches = [name for name in self.machines if name.rpartition("/")[2] == machine]
        return matches[0] if len(matches) == 1 else None

    def measure(self, spectra: Spectra, machine: str | None = None) -> Novelty:
        """Measure how far a clip is from normal recordings.

        The relative distance is ``max over engines e of distance[e, m] / scales[e, m]`` for machine ``m``. Without a
        known machine, ``m`` is the machine for which this value is smallest.

        Args:
            spectra: spectra of the clip.
            machine: name or id of its machine; None if not known.
        """
        relative = measure_distances(self.engines, self.states, spectra) / self.scales
        largest, known = relative.max(axis=0), self.resolve_machine(machine)
        index = int(largest.argmin()) if known is None else self.machines.index(known)
        engine = self.engines[int(relative[:, index].argmax())]
        return Novelty(float(largest[index]), engine.name, self.machines[index])

    def deviations(self, spectra: Spectra, novelty: Novelty, level_dbfs: float | None) -> Deviations:
        """Compute the deviations of a clip from the machine that it was compared with.

        Args:
            spectra: spectra of the clip.
            novelty: result of :meth:`measure` for this clip.
            level_dbfs: level of the clip's recording in dBFS; None for silence.
        """
        return self.reference.deviations(self.spec, spectra, self.machines.index(novelty.machine), level_dbfs)

    def check_quality(
        self, quality: AudioQuality, clips: Sequence[Spectra], machine: str | None = None, *, lost: bool = False
    ) -> UnusableReason | None:
        """Return why a recording cannot be judged, or None if it can. See :func:`check_quality`.

        Args:
            quality: measured facts of the recording.
            clips: spectra of its clips, at least one.
            machine: name or id of its machine; None if not known.
            lost: whether too much is missing of every clip.
        """
        return check_quality(quality, clips, self.reference, self.spec, self._machine_index(machine), lost=lost)

    def slightly_missing_bands(self, clips: Sequence[Spectra], machine: str | None = None) -> int:
        """Return the number of bands in which a recording may have been filtered, counted from the highest.

        Args:
            clips: spectra of the recording's clips, at least one.
            machine: name or id of its machine; None if not known.

        Returns:
            0 if nothing is missing.
        """
        return slightly_missing_bands(clips, self.reference.floor_of(self._machine_index(machine)))

    def passbands(self, clips: Sequence[Spectra], machine: str | None = None) -> tuple[Passband, ...]:
        """Return the passbands that a filter may have left, those that miss least first.

        Args:
            clips: spectra of the recording's clips, at least one.
            machine: name or id of its machine; None if not known.

        Returns:
            Empty if nothing is missing. If something is missing above and below: the passbands of either filter alone,
            and that of both. Always empty for a detector of an earlier version.
        """
        if (centres_db := self.reference.band_centres_db) is None:
            return ()
        bands = centres_db.shape[1]
        low, high = find_passband(clips, centres_db[self._nearest_machine(clips[0], machine)])
        found = dict.fromkeys((Passband(0, high), Passband(low, bands), Passband(low, high)))
        return tuple(each for each in found if each != (0, bands))

    def passband_below(self, edge_hz: float, clips: Sequence[Spectra], machine: str | None = None) -> Passband | None:
        """Return the passband of a filter that ends at a known frequency.

        Args:
            edge_hz: frequency from which on nothing of the machine is left, in Hz.
            clips: spectra of the recording's clips, at least one.
            machine: name or id of its machine; None if not known.

        Returns:
            The passband without the bands in which the filter begins; None for a detector of an earlier version.
        """
        if self.reference.band_centres_db is None:
            return None
        difference_db = np.max([self.band_differences(clip, machine) for clip in clips], axis=0)
        return passband_below(int(2 * edge_hz / self.spec.sample_rate_hz * len(difference_db)), difference_db)

    def band_differences(self, spectra: Spectra, machine: str | None = None) -> NDArray[np.float64]:
        """Return the levels of a clip's fine bands minus those of the machine's normal recordings, in dB.

        Args:
            spectra: spectra of the clip.
            machine: name or id of its machine; None if not known.

        Returns:
            ``(bands,)``; zeros for a detector of an earlier version.
        """
        levels_db = relative_levels(spectra)
        if (centres_db := self.reference.band_centres_db) is None:
            return np.zeros(len(levels_db))
        return np.asarray(levels_db - centres_db[self._nearest_machine(spectra, machine)], np.float64)

    def check_out_of_domain(self, clips: Sequence[Spectra], machine: str | None = None) -> UnusableReason | None:
        """Return the reason if a recording is out of domain, else None.

        Args:
            clips: spectra of the recording's clips; the one that varies most in time counts.
            machine: name or id of its machine; None if not known.
        """
        index = self._machine_index(machine)
        check = self.out_of_domain
        reason = check_out_of_domain(max(check.relative_fluctuation(clip, index) for clip in clips))
        if reason is not None or check.spectrum is None:
            return reason
        return check_spectrum(max(check.spectrum.relative_distance(clip) for clip in clips))

    def _machine_index(self, machine: str | None) -> int | None:
        known = self.resolve_machine(machine)
        return None if known is None else self.machines.index(known)

    def _nearest_machine(self, spectra: Spectra, machine: str | None) -> int:
        """Return the number of a machine; of the most similar one if it is not known."""
        return self.machines.index(self.measure(spectra, machine).machine)

    # Files

    def to_bytes(self) -> tuple[bytes, bytes]:
        """Return the contents of two files: JSON with spec and names, and a NumPy archive with the arrays."""
        facts = {
            "spec": self.spec.to_dict(),
            "engines": [engine.name for engine in self.engines],
            "machines": list(self.machines),
            "recordings": list(self.reference.names),
            "rate_holds_for": self.calibration.rate_holds_for,
            "odd_recordings": [odd._asdict() for odd in self.odd_recordings],
            "contrast": dict(self.contrast),
        }
        arrays: dict[str, NDArray[Any]] = {
            f"{engine.name}/{name}": array
            for engine, state in zip(self.engines, self.states, strict=True)
            for name, array in state.items()
        }
        arrays |= {"scales": self.scales}
        arrays |= {f"calibration/{name}": getattr(self.calibration, name) for name in CALIBRATION_ARRAYS}
        if self.calibration.odd is not None:
            arrays |= {ODD_ARRAY: self.calibration.odd}
        if self.calibration.by_classifier is not None:
            arrays |= {BY_CLASSIFIER_ARRAY: self.calibration.by_classifier}
        # The files keep the older name "guard" of the out-of-domain check.
        arrays |= {f"guard/{name}": array for name, array in self.out_of_domain.state.items()}
        arrays |= {"guard_scales": self.out_of_domain.scales, "guard_most": self.out_of_domain.most}
        if (spectrum := self.out_of_domain.spectrum) is not None:
            arrays |= {f"guard_spectrum/{name}": array for name, array in spectrum.state.items()}
            arrays |= {"guard_spectrum_scales": spectrum.scales, "guard_spectrum_most": np.array(spectrum.most)}
        arrays |= {f"reference/{name}": array for name, array in self.reference.to_arrays().items()}
        archive = io.BytesIO()
        np.savez_compressed(archive, allow_pickle=False, **arrays)
        return json.dumps(facts, indent=2).encode() + b"\n", archive.getvalue()

    @classmethod
    def from_bytes(cls, facts: bytes, arrays: bytes) -> Self:
        """Read a detector from the two files of :meth:`to_bytes`. No code in them is executed.

        Raises:
            BundleDamaged: the files are not those of a detector, or do not fit each other.
        """
        try:
            described = json.loads(facts)
            stored = read_arrays(arrays, MAX_ARRAYS_BYTES)
            engines = tuple(engine_by_name(name) for name in described["engines"])
            detector = cls(
                spec=FeatureSpec.from_dict(described["spec"]),
                engines=engines,
                states=tuple(_below(engine.name, stored) for engine in engines),
                machines=tuple(map(str, described["machines"])),
                scales=stored["scales"],
                calibration=Calibration(
                    **{name: stored[f"calibration/{name}"] for name in CALIBRATION_ARRAYS},
                    odd=stored.get(ODD_ARRAY),
                    by_classifier=stored.get(BY_CLASSIFIER_ARRAY),
                    rate_holds_for=_rate_holds_for(described),
                ),
                reference=Reference.from_arrays(described["recordings"], _below("reference", stored)),
                out_of_domain=_stored_out_of_domain(stored),
                odd_recordings=tuple(OddRecording(**odd) for odd in described.get("odd_recordings", ())),
                contrast={str(name): float(each) for name, each in described.get("contrast", {}).items()},
            )
            expected = len(engines), len(detector.machines)
            if detector.scales.shape != expected or not (detector.scales > 0).all():
                raise ValueError(
                    f"its scales have shape {detector.scales.shape}; {expected}, all above 0, was expected"
                )
            if set(detector.reference.machine.tolist()) != set(range(len(detector.machines))):
                raise ValueError("its reference is of other machines than the detector")
            calibration = [getattr(detector.calibration, name) for name in CALIBRATION_ARRAYS]
            _check_odd(detector)
            if len({len(each) for each in calibration}) > 1 or not all(np.isfinite(each).all() for each in calibration):
                raise ValueError("its calibration is not one finite number for each recording")
            silent = detector.compute_spectra(np.zeros(detector.spec.clip_samples, np.float32))
            detector.deviations(silent, detector.measure(silent), None)
            detector.check_out_of_domain([silent], detector.machines[-1])
            detector.passbands([silent])
        except (
            *ZIP_ERRORS,
            AttributeError,
            MemoryError,
            OverflowError,
            RecursionError,
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
ODD_ARRAY, BY_CLASSIFIER_ARRAY = "calibration/odd", "calibration/by_classifier"


def _check_odd(detector: Detector) -> None:
    odd, other = detector.calibration.odd, detector.calibration.by_classifier
    expected = detector.calibration.named.shape
    if odd is not None and (odd.dtype != bool or odd.shape != expected or odd.all()):
        raise ValueError(f"its odd recordings are {odd.dtype} {odd.shape}; bool {expected}, not all true, was expected")
    if other is not None and (other.dtype != bool or other.shape != expected):
        raise ValueError(f"its verdicts by classifier are {other.dtype} {other.shape}; bool {expected} was expected")
    if not all(isinstance(each.name, str) and math.isfinite(each.times) for each in detector.odd_recordings):
        raise ValueError("an odd recording has no name or no number")


def _rate_holds_for(described: Mapping[str, Any]) -> RateHoldsFor:
    """Return what the rates of a detector hold for; detectors of earlier versions do not state it."""
    found = described.get("rate_holds_for", "same_session")
    if found not in get_args(RateHoldsFor):
        raise ValueError(f"its rate_holds_for is {found!r}; one of {', '.join(get_args(RateHoldsFor))} was expected")
    return found  # type: ignore[no-any-return]  # checked above


def _stored_out_of_domain(stored: Mapping[str, NDArray[Any]]) -> OutOfDomainCheck:
    spectrum = None
    if "guard_spectrum_scales" in stored:
        most = float(stored["guard_spectrum_most"])
        spectrum = SpectrumCheck(_below("guard_spectrum", stored), stored["guard_spectrum_scales"], most)
    return OutOfDomainCheck(_below("guard", stored), stored["guard_scales"], stored["guard_most"], spectrum)


def _below(folder: str, stored: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    prefix = f"{folder}/"
    return {name.removeprefix(prefix): array for name, array in stored.items() if name.startswith(prefix)}


def measure_distances(
    engines: Sequence[Engine], states: Sequence[EngineState], spectra: Spectra
) -> NDArray[np.float64]:
    """Measure the distance of a clip from each machine with each engine, without scales.

    Args:
        engines: the engines.
        states: what each engine has learned, in the same order.
        spectra: spectra of the clip.

    Returns:
        float64 ``(engines, machines)``, 0 or more. The unit depends on the engine.

    Example:
        >>> clip = Spectra(np.zeros((4, 8), np.float32), np.ones(17, np.float32))
        >>> state = {"centres": np.array([[0.0] * 8, [3.0] * 8], np.float32)}
        >>> measure_distances([engine_by_name("distance")], [state], clip)
        array([[0., 9.]])
    """
    return np.stack([engine.distances(state, spectra) for engine, state in zip(engines, states, strict=True)])
