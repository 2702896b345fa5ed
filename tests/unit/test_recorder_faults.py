"""Faults of the recorder: an offset, missing samples, a missing band. None of them is called a fault of the machine."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from ml.audio.batch import AudioFile
from ml.audio.decode import decode
from ml.audio.dropouts import find_dropouts
from ml.detectors.detector import Detector
from ml.detectors.detector_files import detector_from_bytes, detector_to_bytes
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.lossy_coding import CODED_SHARE, fill_holes, hole_share
from ml.detectors.parallel_spectra import parallel_spectra
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import compute_spectra
from ml.errors import BundleDamaged
from ml.features.extractor import FeatureExtractor, remove_offset
from ml.features.feature_specs import detector_spec
from ml.features.spec import FeatureSpec
from ml.models.bundle import Bundle
from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from tests.unit.recorders import (
    RATE_HZ,
    SECONDS,
    SPEC,
    Fault,
    Samples,
    detector_of_fans,
    fan,
    reasons,
    recorded,
    verdicts,
)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """A default detector of forty recordings of a healthy fan."""
    return detector_of_fans()


def offset(level: float) -> Fault:
    """A constant offset."""
    return lambda samples: samples + level


def drift(level: float) -> Fault:
    """An offset that moves from one side to the other, and swings below 1 Hz."""
    t = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    return lambda samples: samples + level * np.linspace(-1, 1, len(t)) / 2 + level * np.sin(2 * np.pi * 0.7 * t) / 2


def missing(milliseconds: float, times: int, *, held: bool = False) -> Fault:
    """Gaps of zeros, or of the last value before the gap."""

    def fault(samples: Samples) -> Samples:
        changed, length = samples.copy(), round(milliseconds * RATE_HZ / 1000)
        for start in np.linspace(0, len(samples) - length, times + 2).astype(int)[1:-1]:
            changed[start : start + length] = changed[start - 1] if held else 0
        return changed

    return fault


def low_pass(cutoff_hz: float) -> Fault:
    """What a codec or a cover leaves."""
    filters = signal.butter(8, cutoff_hz, fs=RATE_HZ, output="sos")
    return lambda samples: np.asarray(signal.sosfiltfilt(filters, samples))


def weaker_above(cutoff_hz: float, gain: float) -> Fault:
    """What is above the cutoff is weaker, and not gone."""
    below = low_pass(cutoff_hz)
    return lambda samples: below(samples) + gain * (samples - below(samples))


def resampled(rate_hz: int) -> Fault:
    """Recorded at another sample rate."""
    return lambda samples: np.asarray(signal.resample_poly(samples, rate_hz, RATE_HZ))


@pytest.mark.parametrize("level", [0.001, 0.01, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("kind", [offset, drift])
def test_an_offset_has_no_influence(predictor: Predictor, kind: Callable[[float], Fault], level: float) -> None:
    """Healthy recordings stay normal, faulty ones anomalous, and the answer has the offset."""
    healthy = verdicts(predictor, kind(level))
    assert [verdict.value for verdict in healthy] == ["normal"] * 6
    assert [verdict.value for verdict in verdicts(predictor, kind(level), blade_hz=90)] == ["anomalous"] * 6
    if kind is offset:
        assert healthy[0].quality.offset == pytest.approx(level, abs=1e-4)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(("milliseconds", "times"), [(20, 1), (25, 8), (100, 2), (300, 1), (200, 2)])
def test_the_rest_of_a_recording_with_gaps_is_judged(
    predictor: Predictor, milliseconds: float, times: int, held: bool
) -> None:
    """Frames that contain a gap do not count; the answer has the share of the gaps."""
    fault = missing(milliseconds, times, held=held)
    healthy = verdicts(predictor, fault)
    assert [verdict.value for verdict in healthy] == ["normal"] * 6
    assert healthy[0].quality.dropout_share == pytest.approx(milliseconds * times / 1000 / SECONDS, rel=0.1)
    assert [verdict.value for verdict in verdicts(predictor, fault, blade_hz=90)] == ["anomalous"] * 6


@pytest.mark.parametrize(("milliseconds", "times"), [(1500, 1), (300, 4), (3000, 1)])
def test_too_little_that_remains_is_named(predictor: Predictor, milliseconds: float, times: int) -> None:
    """The reason is the gaps, and not the length."""
    for verdict in verdicts(predictor, missing(milliseconds, times)):
        assert verdict.unusable is not None
        assert verdict.unusable.code == "dropouts"
        assert verdict.unusable.detail.startswith("Samples are missing in ")


def test_a_gap_that_is_longer_than_a_clip_leaves_the_other_clips(predictor: Predictor) -> None:
    """Twelve seconds in clips of four, the middle one without a sample: the others are judged, and it is left out."""
    samples = np.concatenate([fan(2000), fan(2001), fan(2002)])
    samples[4 * RATE_HZ : 9 * RATE_HZ] = 0
    verdict = predictor.predict(predictor.decode(recorded(samples)))
    assert verdict.value == "normal"
    assert verdict.timeline
    assert all(clip.end_s < 5 or clip.start_s > 7 for clip in verdict.timeline)


def test_many_short_gaps_are_named(predictor: Predictor) -> None:
    """A gap of 20 ms every 75 ms is in every frame."""
    samples = fan(2000)
    for start in range(0, len(samples) - 320, 1200):
        samples[start : start + 320] = 0
    verdict = predictor.predict(predictor.decode(recorded(samples)))
    assert verdict.unusable is not None
    assert verdict.unusable.code == "dropouts"


def test_a_short_recording_with_a_gap_is_too_short(predictor: Predictor) -> None:
    """One gap of 20 ms does not make its length a fault of the recorder."""
    samples = fan(2000)[: 2 * RATE_HZ]
    samples[5000:5320] = 0
    verdict = predictor.predict(predictor.decode(recorded(samples)))
    assert verdict.unusable is not None
    assert verdict.unusable.code == "too_short"


def test_training_and_service_cut_the_same_clips(predictor: Predictor, tmp_path: Path) -> None:
    """A recording with gaps has the same spectra in both."""
    file = tmp_path / "gaps.wav"
    file.write_bytes(recorded(missing(100, 3)(np.concatenate([fan(2000), fan(2001)]))))
    detector = predictor.detector
    assert detector is not None
    ((first, *_),) = parallel_spectra(detector.spec, [AudioFile(file, None)], cut_by=SPEC, processes=1)
    score = detector.measure(first).score
    assert predictor.predict(predictor.decode(file.read_bytes())).timeline[0].score == score
    assert len(first.log_mel) < SPEC.clip_frames


def test_a_microphone_that_is_off_is_too_quiet_despite_its_offset(predictor: Predictor) -> None:
    """The level that counts is that of the sound."""
    hiss = np.random.default_rng(0).normal(0, 0.0001, round(SECONDS * RATE_HZ))
    verdict = predictor.predict(predictor.decode(recorded(0.05 + hiss)))
    assert verdict.quality.level_dbfs == pytest.approx(-80, abs=0.1)
    assert verdict.quality.level_with_offset_dbfs == pytest.approx(-26, abs=0.1)
    assert verdict.unusable is not None
    assert verdict.unusable.code == "too_quiet"


def test_a_low_rate_is_no_fault_if_normal_recordings_have_it() -> None:
    """Features of the original are computed at 22 050 Hz from recordings at 16 kHz."""
    spec = detector_spec(FeatureSpec.original())
    extractor = FeatureExtractor(spec)
    recordings = [decode(recorded(fan(seed))) for seed in range(12)]
    clips = [compute_spectra(extractor, extractor.resample(each.samples, RATE_HZ)) for each in recordings]
    detector = fit_detector(
        spec, [engine_by_name("distance")], [NormalRecording((clip,), "fan", "monday") for clip in clips]
    )
    assert detector.check_quality(recordings[0].quality, [clips[0]]) is None


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 12_000])
def test_a_low_sample_rate_is_named_by_the_header(predictor: Predictor, rate_hz: int) -> None:
    """Whatever is measured: it cannot hold the bands that the detector was trained on."""
    for verdict in verdicts(predictor, resampled(rate_hz), rate_hz=rate_hz):
        assert verdict.unusable is not None
        assert verdict.unusable.code == "band_limited"
        assert f"{rate_hz} Hz" in verdict.unusable.detail


@pytest.mark.parametrize("cutoff_hz", [2000, 3000, 4000, 5000, 6000])
def test_a_filtered_recording_is_named(predictor: Predictor, cutoff_hz: float) -> None:
    """The sound ends abruptly, at any frequency up to three quarters of the range."""
    codes = {verdict.unusable and verdict.unusable.code for verdict in verdicts(predictor, low_pass(cutoff_hz))}
    assert codes == {"band_limited"}


@pytest.mark.parametrize("cutoff_hz", [3000, 5000])
def test_an_abrupt_end_is_named_even_if_something_remains_above_it(predictor: Predictor, cutoff_hz: float) -> None:
    """As with the noise of 16 bits: what is above the cutoff is 16 dB weaker, and not gone."""
    found = verdicts(predictor, weaker_above(cutoff_hz, 0.16))
    assert {verdict.unusable and verdict.unusable.code for verdict in found} == {"band_limited"}


@pytest.mark.parametrize("gain", [0.4, 0.2, 0.1, 0.01])
@pytest.mark.parametrize("cutoff_hz", [6750, 7000])
def test_a_slight_filter_is_never_anomalous_without_its_name(
    predictor: Predictor, cutoff_hz: float, gain: float
) -> None:
    """Weaker by 8 to 40 dB in one band or two: named, or not anomalous."""
    found = set(reasons(predictor, weaker_above(cutoff_hz, gain), recordings=3))
    assert found <= {"normal", "band_limited"}
    assert gain > 0.2 or found == {"band_limited"}


@pytest.mark.parametrize("cutoff_hz", [3000, 5000, 7500])
def test_a_faulty_machine_with_a_slight_filter_is_found(predictor: Predictor, cutoff_hz: float) -> None:
    """It is anomalous with these bands as in normal recordings, too."""
    assert reasons(predictor, weaker_above(cutoff_hz, 0.5), blade_hz=90, recordings=3) == ["anomalous"] * 3


def detector_of_two_machines() -> Detector:
    """A fan, and a dull one with 20 dB less above 3 kHz."""
    extractor = FeatureExtractor(detector_spec(SPEC))
    normal = [
        NormalRecording((compute_spectra(extractor, change(fan(seed)).astype(np.float32)),), machine, "monday")
        for machine, change in (("dull", weaker_above(3000, 0.1)), ("fan", np.asarray))
        for seed in range(6)
    ]
    return fit_detector(extractor.spec, [engine_by_name("distance")], normal)


def test_each_machine_has_a_floor_of_its_own() -> None:
    """Filtered as the dull fan sounds: with its name, a fan is compared with its own recordings."""
    detector = detector_of_two_machines()
    clips = [detector.compute_spectra(weaker_above(5000, 0.16)(fan(100)).astype(np.float32))]
    quality = decode(recorded(fan(100))).quality
    found = [detector.check_quality(quality, clips, machine) for machine in ("fan", "dull", None, "unknown")]
    assert [reason and reason.code for reason in found] == ["band_limited", None, None, None]


def test_a_detector_of_an_earlier_version_has_one_floor() -> None:
    """Its file has no floors of machines, and they are not added."""
    detector = detector_of_two_machines()
    earlier = replace(detector, reference=replace(detector.reference, machine_floors_db=None))
    again = detector_from_bytes(*detector_to_bytes(earlier))
    assert again.reference.machine_floors_db is None
    assert np.array_equal(again.reference.floor_of(1), detector.reference.floor_db)
    new = detector_from_bytes(*detector_to_bytes(detector))
    assert np.array_equal(new.reference.floor_of(1), detector.reference.floor_of(1))
    assert (new.reference.floor_of(1)[8:] > detector.reference.floor_db[8:] + 5).all()


def test_floors_of_other_machines_are_refused() -> None:
    """A row for each machine is expected."""
    detector = detector_of_two_machines()
    damaged = replace(detector.reference, machine_floors_db=np.zeros((3, 16)))
    with pytest.raises(BundleDamaged, match=r"shape \(3, 16\); \(2, 16\) was expected"):
        detector_from_bytes(*detector_to_bytes(replace(detector, reference=damaged)))


def test_a_gradual_loss_of_high_frequencies_is_judged(predictor: Predictor) -> None:
    """6 dB per octave from 1 kHz on, 18 dB at the top: a fault of the machine can sound like this."""
    frequency_hz = np.fft.rfftfreq(round(SECONDS * RATE_HZ), 1 / RATE_HZ)
    gain = 1 / np.sqrt(1 + (frequency_hz / 1000) ** 2)
    found = verdicts(predictor, lambda samples: np.fft.irfft(np.fft.rfft(samples) * gain))
    assert {verdict.value for verdict in found} == {"anomalous"}


def test_a_recording_without_gaps_has_none() -> None:
    """Neither a sine that is clipped, nor noise of one bit, nor digital silence."""
    sine = np.clip(1.5 * np.sin(2 * np.pi * 50 * np.arange(16_000) / RATE_HZ), -1, 1)
    noise = np.random.default_rng(0).integers(-1, 2, 16_000) / 32_768
    for samples in (sine, noise, np.zeros(16_000)):
        assert decode(recorded(samples)).dropouts == ()


def test_gaps_are_found_to_the_sample() -> None:
    """Shorter runs than 20 ms are not gaps."""
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    samples[:400], samples[5000:5319], samples[9000:9320], samples[-1000:] = 0, 0.2, 0.3, -0.1
    assert find_dropouts(samples, RATE_HZ) == ((0, 400), (9000, 9320), (15_000, 16_000))


def test_an_offset_is_removed_from_clips_of_any_length() -> None:
    """Also from clips that are shorter than the window, and at both ends."""
    for length in (1, 5, 79, 80, 81, 500, 3001):
        clip = np.random.default_rng(length).normal(0, 0.01, length).astype(np.float32)
        assert remove_offset(clip + np.float32(0.3), RATE_HZ) == pytest.approx(remove_offset(clip, RATE_HZ), abs=1e-6)


def test_a_tone_of_the_mains_is_kept() -> None:
    """What is removed is slower than 10 Hz: a tone of 50 Hz keeps its level within 2 dB."""
    t = np.arange(RATE_HZ) / RATE_HZ
    for hz, lowest, highest in ((0.7, 0.0, 0.01), (50.0, 0.8, 1.26), (1000.0, 0.97, 1.03)):
        tone = np.sin(2 * np.pi * hz * t).astype(np.float32)
        inside = slice(RATE_HZ // 10, -RATE_HZ // 10)
        ratio = np.std(remove_offset(tone, RATE_HZ)[inside]) / np.std(np.sin(2 * np.pi * 50 * t)[inside])
        assert lowest <= ratio <= highest


def coded(form: str, level: float) -> Fault:
    """Coded with losses and decoded again."""

    def fault(samples: Samples) -> Samples:
        file = io.BytesIO()
        soundfile.write(file, samples, RATE_HZ, format=form, compression_level=level)
        file.seek(0)
        return np.asarray(soundfile.read(file)[0][: len(samples)])

    return fault


def with_hole_share(predictor: Predictor, share: float | None) -> Predictor:
    """The same model with another share of holes in its normal recordings."""
    content = predictor.model.bundle.content
    assert content.detector is not None
    detector = replace(content.detector, reference=replace(content.detector.reference, hole_share=share))
    changed = Bundle("fan", "", replace(content, detector=detector))
    return Predictor(ServedModel.as_written(changed))


def with_holes(samples: Samples) -> Samples:
    """One block in twenty of 8 bins and 8 frames above 600 Hz is zero."""
    spectrum = signal.stft(samples, nperseg=1024, noverlap=768)[2]
    bins, frames = spectrum.shape
    blocks = np.random.default_rng(0).random((-(-bins // 8), -(-frames // 8))) < 0.05
    zero = np.kron(blocks, np.ones((8, 8), bool))[:bins, :frames]
    zero[:40] = False
    return np.asarray(signal.istft(np.where(zero, 0, spectrum), nperseg=1024, noverlap=768)[1][: len(samples)])


def share_of(samples: Samples) -> float:
    """The share of holes, as a detector computes it."""
    return hole_share(samples.astype(np.float32), detector_spec(SPEC))


@pytest.mark.parametrize(("form", "level"), [("MP3", 0.9), ("OGG", 0.9)])
def test_a_codec_leaves_holes(form: str, level: float) -> None:
    """Three times the limit or more."""
    assert min(share_of(coded(form, level)(fan(seed))) for seed in range(3)) > 3 * CODED_SHARE


def test_clean_sound_has_no_holes() -> None:
    """Neither if it is faulty, nor if it fades, has a gap, or is quieter than 16 bits can hold."""
    fade = np.linspace(1, 0, round(SECONDS * RATE_HZ))
    quiet = np.round(fan(0) * 32_768 / 200) / 32_768
    for sound in (fan(1), fan(1, 90), fan(1) * fade, missing(300, 3)(fan(1)), quiet):
        assert share_of(sound) < CODED_SHARE / 5


def test_holes_are_filled() -> None:
    """Few remain, and the level is that of the sound before."""
    holes = with_holes(fan(1))
    filled = np.asarray(fill_holes(holes.astype(np.float32), detector_spec(SPEC)), np.float64)
    assert share_of(filled) < share_of(holes) / 10
    assert np.std(filled) == pytest.approx(np.std(fan(1)), rel=0.02)


def test_a_recording_with_holes_is_named(predictor: Predictor) -> None:
    """Unless a model is of an earlier version, or its normal recordings have holes too."""
    assert reasons(with_hole_share(predictor, 0.0), with_holes, recordings=3) == ["band_limited"] * 3
    for share in (None, 0.5):
        assert reasons(with_hole_share(predictor, share), with_holes, recordings=3) == ["anomalous"] * 3
    (verdict,) = verdicts(with_hole_share(predictor, 0.0), with_holes, recordings=1)
    assert verdict.unusable is not None
    assert "Send WAV or FLAC" in verdict.unusable.detail


def test_a_faulty_machine_with_holes_is_found(predictor: Predictor) -> None:
    """It is anomalous without the holes, too."""
    assert reasons(with_hole_share(predictor, 0.0), with_holes, blade_hz=90, recordings=3) == ["anomalous"] * 3


def test_hardly_anything_is_filled_in_clean_sound() -> None:
    """The change is 25 dB below the sound."""
    clip = fan(1).astype(np.float32)
    assert np.std(fill_holes(clip, detector_spec(SPEC)) - clip) < 0.05 * np.std(clip)


@pytest.mark.parametrize("share", [None, 0.0, 0.5])
def test_a_detector_keeps_the_share_of_holes(predictor: Predictor, share: float | None) -> None:
    """A detector of an earlier version has none, and its file has no array for it."""
    detector = with_hole_share(predictor, share).detector
    assert detector is not None
    assert ("hole_share" in detector.reference.to_arrays()) == (share is not None)
    assert detector_from_bytes(*detector_to_bytes(detector)).reference.hole_share == share


def test_a_telephone_recording_is_named(predictor: Predictor) -> None:
    """Mu-law and MP3 of 8 kHz: the codec is in the quality, and the band is too narrow for the model."""
    narrow = signal.resample_poly(fan(1000), 1, 2)[:, None]
    for kind, subtype, codec in (("WAV", "ULAW", "mulaw"), ("MP3", "MPEG_LAYER_III", "mp3")):
        file = io.BytesIO()
        soundfile.write(file, narrow, 8_000, format=kind, subtype=subtype)
        verdict = predictor.predict(predictor.decode(file.getvalue()))
        assert (verdict.quality.codec, verdict.value) == (codec, "unusable")
        assert verdict.unusable is not None
        assert verdict.unusable.code == "band_limited"
