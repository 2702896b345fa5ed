"""Simulated fans: physical effects are in the samples, the level has no label, and a seed gives a dataset."""

import csv
import hashlib
import os
import signal
import subprocess
import sys
from collections import Counter, namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.audio.decode import decode
from ml.dataset.simulate.fan import Fan, FaultEffects, OperatingState, fault_effects
from ml.dataset.simulate.plan import FAULTS, SimulationPlan
from ml.dataset.simulate.signals import generator
from ml.dataset.simulate.simulator import simulate
from ml.dataset.simulate.sound import fan_sound
from ml.errors import Cancelled, InvalidParameter, StorageFull
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.system.progress import Progress, cancellable, ignore_progress
from testing.servers import wait_until

TINY = SimulationPlan(machines=1, sessions=1, recordings=2, snr_db=(6.0, -6.0), duration_s=1.0)
# Enough sessions that each of 5 folds by session tests every class: n = 288 at each SNR.
PLAN = SimulationPlan(machines=3, sessions=4, recordings=4, snr_db=(6.0, -6.0), duration_s=3.0)
STEADY = OperatingState(slip_factor=1, flow_db=0, blade_db=0, hum_db=0, bearing_db=0, tilt_db=np.zeros(17), severity=1)
SAMPLES = 10 * 16_000


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open() as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 24 files, to check its form."""
    return simulate(tmp_path_factory.mktemp("tiny") / "fans", plan=TINY)


# --- form


def test_the_layout_is_mimiis_and_the_manifest_names_every_file(tiny: Path) -> None:
    """Each row is a WAV file of the plan's form at MIMII's path, and each file has a row."""
    rows = rows_of(tiny)
    assert {row["path"] for row in rows} == {p.relative_to(tiny).as_posix() for p in tiny.rglob("*.wav")}
    assert len(rows) == TINY.files == 24
    assert rows[0] == {
        "path": "6_dB_fan/fan/id_00/normal/00000000.wav",
        "label": "normal",
        "machine": "fan",
        "machine_id": "id_00",
        "snr_db": "6",
        "fault": "",
        "group": "fan/id_00/s00",
    }
    recording = decode(tiny / rows[0]["path"])
    assert (recording.sample_rate_hz, len(recording.samples)) == (16_000, TINY.samples)
    assert Counter((row["label"], row["fault"]) for row in rows) == Counter(
        {("normal", ""): 12} | {("abnormal", fault): 4 for fault in FAULTS}
    )


def test_each_snr_has_the_same_machine_with_other_noise(tiny: Path) -> None:
    """A number has the same session and fault in each SNR folder, but other samples."""
    seen: dict[str, set[tuple[str, str]]] = {}
    for row in rows_of(tiny):
        seen.setdefault(row["path"].split("/", 1)[1], set()).add((row["group"], row["fault"]))
    assert all(len(facts) == 1 for facts in seen.values())
    assert len(set(digests(tiny).values())) == TINY.files + 1


def test_each_abnormal_session_has_one_fault(tiny: Path) -> None:
    """A split by session therefore separates faults."""
    faults: dict[str, set[str]] = {}
    for row in rows_of(tiny):
        faults.setdefault(row["group"], set()).add(row["fault"])
    assert all(len(names) == 1 for names in faults.values())


def test_eight_channels_differ(tmp_path: Path) -> None:
    """Each channel has its own path through the room; channels are similar."""
    plan = replace(TINY, channels=8, snr_db=(6.0,))
    folder = simulate(tmp_path / "fans", plan=plan)
    path = folder / rows_of(folder)[0]["path"]
    channels = np.array([decode(path, channel=channel).samples for channel in range(8)])
    alike = np.corrcoef(channels)[np.triu_indices(8, 1)]
    assert alike.max() < 0.999
    assert alike.min() > 0.3
    assert sum(path.stat().st_size for path in folder.rglob("*.wav")) == plan.bytes


# --- a seed is a dataset


def test_the_same_seed_is_the_same_bytes_in_any_number_of_processes(tiny: Path, tmp_path: Path) -> None:
    """Bytes depend on the seed, and not on the order or the number of processes."""
    assert digests(simulate(tmp_path / "two", plan=TINY, processes=2)) == digests(tiny)
    other = digests(simulate(tmp_path / "other", plan=TINY, seed=1))
    assert not set(other.values()) & set(digests(tiny).values()) - {digests(tiny)["manifest.csv"]}


def test_an_snr_does_not_depend_on_the_others(tiny: Path, tmp_path: Path) -> None:
    """-6 dB alone equals -6 dB of the whole dataset."""
    alone = digests(simulate(tmp_path / "alone", plan=replace(TINY, snr_db=(-6.0,))))
    whole = digests(tiny)
    assert {p: d for p, d in alone.items() if p.endswith("wav")} == {p: d for p, d in whole.items() if p[:3] == "-6_"}


# --- physics


def spectrum(fan: Fan, fault: FaultEffects, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    sound = fan_sound(fan, STEADY, fault, SAMPLES, generator(99, seed))
    return scipy.signal.welch(sound, 16_000, nperseg=16_000)


def peak_db(fan: Fan, fault: FaultEffects, hz: float, seed: int = 0) -> float:
    """The strongest power within 1.5 % of a frequency, dB."""
    at, power = spectrum(fan, fault, seed)
    return float(10 * np.log10(power[(at > hz * 0.985 - 1) & (at < hz * 1.015 + 1)].max()))


@pytest.fixture(params=[0, 1, 2])
def fan(request: pytest.FixtureRequest) -> Fan:
    """Three random fans."""
    return Fan.draw(generator(7, request.param), 50.0)


def test_the_blade_pass_tone_is_at_shaft_rate_times_blades(fan: Fan) -> None:
    """The tone is stronger than its neighbourhood, at the frequency of the shaft's speed."""
    blade_hz = fan.synchronous_hz * (1 - fan.slip) * fan.blades
    loud = replace(fan, blade_db=fan.blade_db + 12)
    assert peak_db(loud, FaultEffects(), blade_hz) > peak_db(loud, FaultEffects(), blade_hz * 1.07) + 6


def test_imbalance_is_a_tone_and_a_modulation_at_the_shaft_rate(fan: Fan) -> None:
    """The first harmonic of the shaft rises by about 20 dB, and the high band is modulated at the shaft's rate."""
    shaft_hz = fan.synchronous_hz * (1 - fan.slip)
    assert peak_db(fan, fault_effects("imbalance", 1.0), shaft_hz) > peak_db(fan, FaultEffects(), shaft_hz) + 10

    def beat(fault: FaultEffects) -> float:
        sound = fan_sound(fan, STEADY, fault, SAMPLES, generator(99))
        band = scipy.signal.sosfilt(scipy.signal.butter(4, 1500, "highpass", fs=16_000, output="sos"), sound)
        at, power = scipy.signal.welch(np.square(band), 16_000, nperseg=32_000)
        return float(power[np.argmin(abs(at - shaft_hz))] / np.median(power[(at > 5) & (at < 100)]))

    assert beat(fault_effects("imbalance", 1.0)) > 5 * beat(FaultEffects())


def test_clogging_moves_flow_noise_down_and_weakens_the_blades(fan: Fan) -> None:
    """There is more power under 100 Hz, less over 3 kHz, and a weaker blade-pass tone."""

    def band_db(fault: FaultEffects, low_hz: float, high_hz: float) -> float:
        at, power = spectrum(fan, fault)
        return float(10 * np.log10(np.median(power[(at >= low_hz) & (at < high_hz)])))

    clogged = fault_effects("clogging", 1.0)
    assert band_db(clogged, 20, 100) > band_db(FaultEffects(), 20, 100) + 3
    assert band_db(clogged, 3000, 7000) < band_db(FaultEffects(), 3000, 7000) - 1
    assert clogged.blade_db < 0


def test_low_voltage_slows_the_rotor_and_raises_the_hum(fan: Fan) -> None:
    """The blade-pass tone is lower by the slip, and twice the line frequency is louder."""
    low = fault_effects("voltage_change", 1.0)
    loud = replace(fan, blade_db=fan.blade_db + 20, unequal_db=fan.unequal_db - 40, slots_db=-80.0)

    def blade_hz(fault: FaultEffects) -> float:
        nominal = fan.synchronous_hz * fan.blades
        at, power = spectrum(loud, fault)
        power = np.where((at > nominal * 0.7) & (at < nominal * 1.01), power, 0)
        return float(at[power.argmax()])

    assert blade_hz(FaultEffects()) == pytest.approx(fan.synchronous_hz * fan.blades * (1 - fan.slip), rel=0.01)
    expected = fan.synchronous_hz * fan.blades * (1 - fan.slip * low.slip_factor)
    assert blade_hz(low) == pytest.approx(expected, rel=0.01)
    assert expected < 0.95 * fan.synchronous_hz * fan.blades
    assert peak_db(fan, low, 100) > peak_db(fan, FaultEffects(), 100) + 3


def test_a_session_is_continuous() -> None:
    """Neighbouring recordings have nearly equal states; sessions do not."""
    moments = np.linspace(0, 1, 11)
    days = [[OperatingState.draw(generator(3, session), t, (0.3, 1.0)) for t in moments] for session in range(8)]
    slips = np.array([[day.slip_factor for day in session] for session in days])
    assert np.abs(np.diff(slips, axis=1)).mean() < 0.4 * slips[:, 0].std()
    assert all(np.array_equal(day.tilt_db, session[0].tilt_db) for session in days for day in session)


# --- the level has no label, and noise makes faults harder to find

Measurements = namedtuple("Measurements", "rows features levels")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measurements:
    """Mean log-mel spectrum, without its own mean, and level of 576 recordings."""
    folder = simulate(tmp_path_factory.mktemp("fans") / "fans", plan=PLAN)
    spec = FeatureSpec(
        sample_rate_hz=16_000, clip_frames=PLAN.samples // 512, n_mels=64, fmax_hz=8000.0, level="clip_mean"
    )
    extractor, rows = FeatureExtractor(spec), rows_of(folder)
    sounds = [decode(folder / row["path"]).samples for row in rows]
    features = np.array([extractor.log_mel(sound).mean(axis=0) for sound in sounds])
    return Measurements(rows, features, np.array([np.std(sound) for sound in sounds]))


def at_snr(measured: Measurements, snr_db: str) -> tuple[NDArray[Any], ...]:
    """Features, levels, classes and sessions of the recordings at one SNR."""
    chosen = [i for i, row in enumerate(measured.rows) if row["snr_db"] == snr_db]
    classes = np.array([measured.rows[i]["fault"] or "normal" for i in chosen])
    groups = np.array([measured.rows[i]["group"] for i in chosen])
    return measured.features[chosen], measured.levels[chosen], classes, groups


@pytest.mark.parametrize("snr_db", ["6", "-6"])
def test_level_alone_separates_nothing(measured: Measurements, snr_db: str) -> None:
    """The AUC of the level, for abnormal and for each fault, is 0.5 within 0.05 (n = 288, 144 of them normal)."""
    _, levels, classes, _ = at_snr(measured, snr_db)
    assert roc_auc_score(classes != "normal", levels) == pytest.approx(0.5, abs=0.05)
    for fault in FAULTS:
        pair = np.isin(classes, ["normal", fault])
        assert roc_auc_score(classes[pair] == fault, levels[pair]) == pytest.approx(0.5, abs=0.05)


def test_noise_makes_faults_harder_to_tell_apart(measured: Measurements) -> None:
    """Macro-F1 of a linear classifier on held-out sessions is high at +6 dB, clearly lower at -6 dB, and above
    chance."""
    figures = {}
    for snr_db in ("6", "-6"):
        features, _, classes, groups = at_snr(measured, snr_db)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
        predicted = cross_val_predict(model, features, classes, groups=groups, cv=folds)
        figures[snr_db] = f1_score(classes, predicted, average="macro")
    assert 0.8 < figures["6"] < 1
    assert 0.35 < figures["-6"] < figures["6"] - 0.15


# --- refusals, and no partial datasets


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("machines", 0),
        ("machines", 100),
        ("sessions", 0),
        ("recordings", -1),
        ("channels", 9),
        ("duration_s", 0.5),
        ("duration_s", float("nan")),
        ("snr_db", ()),
        ("snr_db", (6.0, 6.0)),
        ("snr_db", (float("inf"),)),
        ("severity", (0.5, 0.2)),
        ("severity", (0.0, 1.0)),
    ],
)
def test_an_invalid_plan_is_refused(field: str, value: object) -> None:
    """The message names the field and the expected value."""
    with pytest.raises(InvalidParameter, match=rf"^Simulation: {field} is .*expected\.$"):
        replace(SimulationPlan(), **{field: value})  # type: ignore[arg-type]  # wrong values are the point


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    """Seeds start at 0."""
    with pytest.raises(InvalidParameter, match="seed is -1"):
        simulate(tmp_path / "fans", plan=TINY, seed=-1)


def test_a_folder_with_files_is_not_changed(tmp_path: Path) -> None:
    """Only an empty or a new folder is used."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.wav").write_bytes(b"")
    with pytest.raises(InvalidParameter, match="exists and is not empty"):
        simulate(tmp_path / "used", plan=TINY)
    (tmp_path / "empty").mkdir()
    assert len(rows_of(simulate(tmp_path / "empty", plan=TINY))) == TINY.files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "used"]


def test_too_little_free_space_is_reported_before_anything_is_written(tmp_path: Path) -> None:
    """The message has the necessary and the free space."""
    plan = SimulationPlan(machines=99, sessions=1000, recordings=10_000)
    with pytest.raises(StorageFull, match=r"needs [\d,]+ MB; [\d,]+ MB are free"):
        simulate(tmp_path / "new" / "fans", plan=plan)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_a_cancelled_simulation_leaves_nothing(tmp_path: Path, processes: int) -> None:
    """No hidden folder is left either."""
    seen: list[Progress] = []
    with pytest.raises(Cancelled):
        simulate(
            tmp_path / "fans", plan=TINY, processes=processes, report=cancellable(seen.append, lambda: len(seen) > 3)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_killed_simulation_leaves_no_dataset_and_the_next_one_removes_its_files(tmp_path: Path) -> None:
    """After ``kill -9`` there is no target; the same command then makes the whole dataset."""
    target = tmp_path / "fans"
    program = (
        "from pathlib import Path; from ml.dataset.simulate.simulator import simulate; "
        f"simulate(Path({str(target)!r}), processes=1)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2]) as process:
        wait_until(lambda: len(list(tmp_path.rglob("*.wav"))) > 5)
        with pytest.raises(InvalidParameter, match="made by another process"):
            simulate(target, plan=TINY)
        os.kill(process.pid, signal.SIGKILL)
    assert not target.exists()
    simulate(target, plan=TINY, report=ignore_progress)
    assert sum(1 for _ in target.rglob("*.wav")) == TINY.files
    assert [path.name for path in tmp_path.iterdir()] == ["fans"]
