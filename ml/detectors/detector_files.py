"""Files of a detector: JSON with its facts, and a NumPy archive with its arrays. No code in them is executed."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ml.detectors.calibration import Calibration, OddRecording, RateHoldsFor
from ml.detectors.detector import Detector
from ml.detectors.engines.engine import Engine, EngineState
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.out_of_domain import OutOfDomainCheck, SpectrumCheck
from ml.detectors.reference import Reference
from ml.detectors.reference_benefit import ReferenceBenefit
from ml.detectors.reference_channel import ReferenceChannel
from ml.errors import BundleDamaged, InvalidParameter, SpecError
from ml.features.spec import FeatureSpec
from ml.system.npz import read_arrays
from ml.system.zip_members import ZIP_ERRORS

# Chosen here: 100 times the largest that trainings of this project write.
MAX_ARRAYS_BYTES = 512 * 2**20
CALIBRATION_ARRAYS = ("named", "unnamed", "session")
ODD_ARRAY, BY_CLASSIFIER_ARRAY = "calibration/odd", "calibration/by_classifier"
# Of a detector with a reference channel. Neither is the name of an engine.
PAIR, ALONE = "reference_channel/", "without_reference_channel/"


def detector_to_bytes(detector: Detector) -> tuple[bytes, bytes]:
    """Return the contents of two files: JSON with spec and names, and a NumPy archive with the arrays.

    Example:
        >>> from ml.detectors.fitting import fit_detector
        >>> from ml.detectors.reference import NormalRecording
        >>> from ml.detectors.spectra import Spectra
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32, n_mels=64)
        >>> rng = np.random.default_rng(0)
        >>> clips = [Spectra(*(rng.uniform(1, 2, n).astype(np.float32) for n in ((32, 64), 1025))) for _ in range(7)]
        >>> recordings = [NormalRecording((clip,), "fan/id_00", "monday") for clip in clips[:6]]
        >>> detector = fit_detector(spec, [engine_by_name("distance")], recordings)
        >>> detector_from_bytes(*detector_to_bytes(detector)).measure(clips[6]) == detector.measure(clips[6])
        True
    """
    facts: dict[str, Any] = {
        "spec": detector.spec.to_dict(),
        "engines": [engine.name for engine in detector.engines],
        "machines": list(detector.machines),
        "recordings": list(detector.reference.names),
        "rate_holds_for": detector.calibration.rate_holds_for,
        "odd_recordings": [odd._asdict() for odd in detector.odd_recordings],
        "contrast": dict(detector.contrast),
    }
    arrays = _engine_arrays("", detector.engines, detector.states) | {"scales": detector.scales}
    arrays |= {f"calibration/{name}": getattr(detector.calibration, name) for name in CALIBRATION_ARRAYS}
    if detector.calibration.odd is not None:
        arrays |= {ODD_ARRAY: detector.calibration.odd}
    if detector.calibration.by_classifier is not None:
        arrays |= {BY_CLASSIFIER_ARRAY: detector.calibration.by_classifier}
    # The files keep the older name "guard" of the out-of-domain check.
    arrays |= {f"guard/{name}": array for name, array in detector.out_of_domain.state.items()}
    arrays |= {"guard_scales": detector.out_of_domain.scales, "guard_most": detector.out_of_domain.most}
    if (spectrum := detector.out_of_domain.spectrum) is not None:
        arrays |= {f"guard_spectrum/{name}": array for name, array in spectrum.state.items()}
        arrays |= {"guard_spectrum_scales": spectrum.scales, "guard_spectrum_most": np.array(spectrum.most)}
    arrays |= {f"reference/{name}": array for name, array in detector.reference.to_arrays().items()}
    if detector.benefit is not None:
        facts |= {"reference_benefit": asdict(detector.benefit)}
    if (pair := detector.pair) is not None:
        facts |= {"engines_without_reference_channel": [engine.name for engine in pair.alone.engines]}
        arrays |= _engine_arrays(ALONE, pair.alone.engines, pair.alone.states)
        arrays |= {f"{PAIR}{name}": array for name, array in pair.to_arrays().items()}
    archive = io.BytesIO()
    np.savez_compressed(archive, allow_pickle=False, **arrays)
    return json.dumps(facts, indent=2).encode() + b"\n", archive.getvalue()


def detector_from_bytes(facts: bytes, arrays: bytes) -> Detector:
    """Read a detector from the two files of :func:`detector_to_bytes`. No code in them is executed.

    Raises:
        BundleDamaged: the files are not those of a detector, or do not fit each other.

    Example:
        >>> detector_from_bytes(b"{}", b"")
        Traceback (most recent call last):
        ml.errors.BundleDamaged: The detector cannot be read: File is not a zip file
    """
    try:
        described = json.loads(facts)
        stored = read_arrays(arrays, MAX_ARRAYS_BYTES)
        engines = tuple(engine_by_name(name) for name in described["engines"])
        detector = Detector(
            spec=FeatureSpec.from_dict(described["spec"]),
            engines=engines,
            states=tuple(_below(f"{engine.name}/", stored) for engine in engines),
            machines=tuple(map(str, described["machines"])),
            scales=stored["scales"],
            calibration=Calibration(
                **{name: stored[f"calibration/{name}"] for name in CALIBRATION_ARRAYS},
                odd=stored.get(ODD_ARRAY),
                by_classifier=stored.get(BY_CLASSIFIER_ARRAY),
                rate_holds_for=_rate_holds_for(described),
            ),
            reference=Reference.from_arrays(described["recordings"], _below("reference/", stored)),
            out_of_domain=_stored_out_of_domain(stored),
            odd_recordings=tuple(OddRecording(**odd) for odd in described.get("odd_recordings", ())),
            pair=_stored_pair(described, stored),
            benefit=_stored_benefit(described),
            contrast={str(name): float(each) for name, each in described.get("contrast", {}).items()},
        )
        expected = len(engines), len(detector.machines)
        if detector.scales.shape != expected or not (detector.scales > 0).all():
            raise ValueError(f"its scales have shape {detector.scales.shape}; {expected}, all above 0, was expected")
        if set(detector.reference.machine.tolist()) != set(range(len(detector.machines))):
            raise ValueError("its reference is of other machines than the detector")
        calibration = [getattr(detector.calibration, name) for name in CALIBRATION_ARRAYS]
        _check_odd(detector)
        if len({len(each) for each in calibration}) > 1 or not all(np.isfinite(each).all() for each in calibration):
            raise ValueError("its calibration is not one finite number for each recording")
        silence = np.zeros(detector.spec.clip_samples, np.float32)
        silent = detector.compute_spectra(silence, reference=silence)
        detector.deviations(silent, detector.measure(silent), None)
        detector.measure(replace(silent, reference=None))
        detector.is_swapped([silent])
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
        spectrum = SpectrumCheck(_below("guard_spectrum/", stored), stored["guard_spectrum_scales"], most)
    return OutOfDomainCheck(_below("guard/", stored), stored["guard_scales"], stored["guard_most"], spectrum)


def _stored_benefit(described: Mapping[str, Any]) -> ReferenceBenefit | None:
    found = described.get("reference_benefit")
    if found is None:
        return None
    contrasts = (None if found[name] is None else float(found[name]) for name in ("main_contrast", "pair_contrast"))
    return ReferenceBenefit(float(found["explained"]), *contrasts)


def _stored_pair(described: Mapping[str, Any], stored: Mapping[str, NDArray[Any]]) -> ReferenceChannel | None:
    names = described.get("engines_without_reference_channel")
    if names is None:
        return None
    engines = tuple(engine_by_name(name) for name in names)
    states = tuple(_below(f"{ALONE}{engine.name}/", stored) for engine in engines)
    return ReferenceChannel.from_arrays(_below(PAIR, stored), engines, states)


def _engine_arrays(prefix: str, engines: Sequence[Engine], states: Sequence[EngineState]) -> dict[str, NDArray[Any]]:
    return {
        f"{prefix}{engine.name}/{name}": array
        for engine, state in zip(engines, states, strict=True)
        for name, array in state.items()
    }


def _below(prefix: str, stored: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in stored.items() if name.startswith(prefix)}
