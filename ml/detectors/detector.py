"""Detector: fitted engines that measure how far a clip is from the normal recordings of a machine.

**Scale.** The distance of each engine is divided by a scale: ``scale = sqrt(own * pooled)``. ``own`` is the mean
distance of the normal recordings of the machine, ``pooled`` that of all normal recordings. Both come from engines that
have not learned from these recordings. The result is the relative distance: 1 is typical, for each engine and machine.

**Ensemble.** The largest relative distance of all engines counts. A fault may show in one engine only, and a mean over
engines would hide it. The maximum has no weights, so no abnormal recordings are needed to choose them (decision 14).

**Machine.** A clip is compared with the machine that the caller names. If the caller names none, or one that is not
known, the clip is compared with the most similar known machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ml.audio.recording import AudioQuality
from ml.detectors.calibration import Calibration, OddRecording
from ml.detectors.deviations import Deviations, ExplainedByHall
from ml.detectors.engines.engine import Engine, EngineState
from ml.detectors.out_of_domain import OutOfDomainCheck
from ml.detectors.passband import Passband, find_passband, passband_below, relative_levels
from ml.detectors.quality_checks import check_out_of_domain, check_quality, check_spectrum, slightly_missing_bands
from ml.detectors.recorder_checks import UnusableReason, swapped_reason
from ml.detectors.reference import Reference
from ml.detectors.reference_benefit import ReferenceBenefit
from ml.detectors.reference_channel import ReferenceChannel, Regression
from ml.detectors.spectra import Spectra, compute_spectra
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec


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
        pair: what it knows about its reference channel; then the engines measure the residual. None without one, or if
            it does not help.
        benefit: how much the reference channel helps; None without one.

    Example:
        >>> from ml.detectors.engines.registry import engine_by_name
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
    pair: ReferenceChannel | None = None
    benefit: ReferenceBenefit | None = None

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """Feature extractor of the detector's spec."""
        return FeatureExtractor(self.spec)

    def compute_spectra(
        self,
        clip: NDArray[np.float32],
        kept: NDArray[np.bool_] | None = None,
        reference: NDArray[np.float32] | None = None,
    ) -> Spectra:
        """Compute the spectra of a clip.

        Args:
            clip: float32 ``(samples,)`` at the spec's sample rate, full scale -1 to 1.
            kept: which samples count, ``(samples,)``; None for all.
            reference: float32 ``(samples,)``: the reference channel; it is left out if the detector does not use it.
        """
        return compute_spectra(self.extractor, clip, kept, None if self.pair is None else reference)

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

        With a reference channel, the distances are those of the residual; for a clip without one, or with a disturbed
        one, those of the main channel, on the same scale.

        Args:
            spectra: spectra of the clip.
            machine: name or id of its machine; None if not known.
        """
        known = self._machine_index(machine)
        engines, relative = self._relative_distances(spectra, known)
        largest = relative.max(axis=0)
        index = int(largest.argmin()) if known is None else known
        engine = engines[int(relative[:, index].argmax())]
        return Novelty(float(largest[index]), engine.name, self.machines[index])

    def _relative_distances(
        self, spectra: Spectra, machine: int | None
    ) -> tuple[tuple[Engine, ...], NDArray[np.float64]]:
        """Return the engines for a clip and its relative distances, ``(engines, machines)``."""
        if self.pair is not None and not self._uses_reference(spectra, machine):
            alone = self.pair.alone
            relative = measure_distances(alone.engines, alone.states, spectra) / alone.scales
            return alone.engines, alone.translate(relative)
        regression = None if self.pair is None else self.pair.regression
        distances = measure_residual_distances(self.engines, self.states, spectra, regression, machine)
        return self.engines, distances / self.scales

    def _uses_reference(self, spectra: Spectra, machine: int | None) -> bool:
        """Whether the reference channel of a clip can be used: for one machine at least, if none is known."""
        if self.pair is None or spectra.reference is None:
            return False
        indices = range(len(self.machines)) if machine is None else [machine]
        return not all(self.pair.regression.is_disturbed(spectra, index) for index in indices)

    def deviations(self, spectra: Spectra, novelty: Novelty, level_dbfs: float | None) -> Deviations:
        """Compute the deviations of a clip from the machine that it was compared with.

        Args:
            spectra: spectra of the clip.
            novelty: result of :meth:`measure` for this clip.
            level_dbfs: level of the clip's recording in dBFS; None for silence.
        """
        machine = self.machines.index(novelty.machine)
        explained = None
        if self.pair is not None and self._uses_reference(spectra, machine):
            rise_db = self.pair.regression.explained(spectra, machine, "mel_spectrum")
            explained = ExplainedByHall(rise_db.astype(np.float64), self.pair.spread)
        return self.reference.deviations(self.spec, spectra, machine, level_dbfs, explained)

    def is_disturbed(self, spectra: Spectra, machine: str | None = None) -> bool:
        """Whether the reference channel of a clip has sounds that the main channel does not have; False without one.

        Args:
            spectra: spectra of the clip.
            machine: name or id of its machine; None if not known.
        """
        if self.pair is None or spectra.reference is None:
            return False
        return not self._uses_reference(spectra, self._machine_index(machine))

    def is_swapped(self, clips: Sequence[Spectra], machine: str | None = None) -> bool:
        """Whether main and reference channel of a recording seem to be swapped; False without a reference channel.

        Args:
            clips: spectra of the recording's clips, at least one.
            machine: name or id of its machine; None if not known.
        """
        if self.pair is None or clips[0].reference is None:
            return False
        known = self._machine_index(machine)
        indices = range(len(self.machines)) if known is None else [known]
        return all(self.pair.is_swapped(clip, index) for clip in clips for index in indices)

    def check_quality(
        self, quality: AudioQuality, clips: Sequence[Spectra], machine: str | None = None, *, lost: bool = False
    ) -> UnusableReason | None:
        """Return why a recording cannot be judged, or None if it can.

        The checks are those of :func:`check_quality`, and whether main and reference channel are swapped.

        Args:
            quality: measured facts of the recording.
            clips: spectra of its clips, at least one.
            machine: name or id of its machine; None if not known.
            lost: whether too much is missing of every clip.
        """
        reason = check_quality(quality, clips, self.reference, self.spec, self._machine_index(machine), lost=lost)
        return swapped_reason(self.spec) if reason is None and self.is_swapped(clips, machine) else reason

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
        >>> from ml.detectors.engines.registry import engine_by_name
        >>> measure_distances([engine_by_name("distance")], [state], clip)
        array([[0., 9.]])
    """
    return np.stack([engine.distances(state, spectra) for engine, state in zip(engines, states, strict=True)])


def measure_residual_distances(
    engines: Sequence[Engine],
    states: Sequence[EngineState],
    spectra: Spectra,
    regression: Regression | None,
    machine: int | None = None,
) -> NDArray[np.float64]:
    """Measure the distance of a clip's residual from each machine with each engine, without scales.

    The residual depends on the machine that the clip is compared with.

    Args:
        engines: the engines.
        states: what each engine has learned, in the same order.
        spectra: spectra of the clip.
        regression: regression on the reference channel; None to measure the main channel itself.
        machine: number of the machine that counts, from 0: the distances to others are then of no use. None if all
            count.

    Returns:
        float64 ``(engines, machines)``, 0 or more.

    Example:
        >>> from ml.detectors.engines.registry import engine_by_name
        >>> hall = Spectra(np.zeros((4, 8), np.float32), np.ones(17, np.float32))
        >>> clips = [Spectra(hall.log_mel, hall.power, hall)] * 2
        >>> state = {"centres": np.array([[0.0] * 8, [3.0] * 8], np.float32)}
        >>> regression = Regression.fit(clips, np.array([0, 1]))
        >>> measure_residual_distances([engine_by_name("distance")], [state], clips[0], regression)
        array([[0., 9.]])
    """
    if regression is None:
        return measure_distances(engines, states, spectra)
    if machine is not None:
        return measure_distances(engines, states, regression.residual(spectra, machine))
    machines = range(len(regression.main_centres["fine_spectrum"]))
    columns = [measure_distances(engines, states, regression.residual(spectra, each))[:, each] for each in machines]
    return np.stack(columns, axis=1)
