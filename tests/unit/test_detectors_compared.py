"""Detectors side by side: honest, paired with the bar, and written down with every denominator."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from ml.audio.decode import decode
from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.errors import DatasetEmpty, InvalidParameter
from ml.evaluation.results import Estimate
from ml.experiments.comparison_report import write_comparison_report
from ml.experiments.comparison_results import FALSE_ALARM_RATES, ComparisonRow, DetectorComparison, Trial
from ml.experiments.detector_comparison import BASELINE, DEFAULT_CONTENDER, compare_detectors
from tests import sounds

UNDEFINED = Estimate(None, None, None)
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def fans(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two simulated fans, six healthy and six faulty recordings of each, whose sessions nobody has named."""
    folder = tmp_path_factory.mktemp("fans") / "fans"
    plan = SimulationPlan(machines=2, sessions=1, recordings=2, snr_db=(6.0,), duration_s=2.0, severity=(0.9, 1.0))
    return index(simulate(folder, plan=plan, processes=1) / "6_dB_fan", processes=1)


@pytest.fixture(scope="module")
def no_machines(fans: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sounds that no fan makes, and a healthy one that is switched on and off."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(3):
        tone = sounds.sine(500.0 * (number + 1), 16_000, 16_000, 0.3)
        (folder / f"{number}.wav").write_bytes(sounds.recording(tone))
    healthy = next(entry for entry in fans.entries if entry.label == "normal")
    recording = decode(fans.file(healthy))
    seconds = np.arange(len(recording.samples)) / recording.sample_rate_hz
    switched = recording.samples * (0.05 + (seconds % 1 < 0.5))
    (folder / "switched.wav").write_bytes(sounds.recording(switched[:, None], "float32", recording.sample_rate_hz))
    return folder


@pytest.fixture(scope="module")
def compared(fans: Dataset, no_machines: Path) -> DetectorComparison:
    """The fans, by two engines beside the default and the bar."""
    engines = ("distance", "distance+fluctuation", "spectrum-gaussian")
    return compare_detectors(fans, engines, out_of_domain=no_machines, processes=1)


def row(comparison: DetectorComparison, contender: str, name: str) -> ComparisonRow:
    """The one row of that contender on those recordings."""
    (found,) = (each for each in comparison.rows if (each.contender, each.name) == (contender, name))
    return found


def of(tried: tuple[Trial, ...], label: str) -> list[Trial]:
    """Those of one class."""
    return [each for each in tried if each.entry.label == label]


def naive_auc(tried: tuple[Trial, ...]) -> float:
    """Over all pairs, one by one."""
    pairs = product((each.score for each in of(tried, "abnormal")), (each.score for each in of(tried, "normal")))
    return float(np.mean([(faulty > healthy) + 0.5 * (faulty == healthy) for faulty, healthy in pairs]))


def test_every_contender_stands_in_every_slice(compared: DetectorComparison) -> None:
    """The default first, the bar last; a row for the kind of machine, and one for each machine of it."""
    assert compared.contenders == (DEFAULT_CONTENDER, "distance", "distance+fluctuation", "spectrum-gaussian", BASELINE)
    names = ["fan at 6 dB", "fan/id_00 at 6 dB", "fan/id_01 at 6 dB"]
    assert [(each.name, each.contender) for each in compared.rows] == list(product(names, compared.contenders))
    for each in compared.rows:
        recordings = 12 if each.kind == "kind" else 6
        assert (each.normal, each.abnormal) == (recordings, recordings)


def test_healthy_recordings_are_tried_once_and_faulty_ones_by_every_detector(compared: DetectorComparison) -> None:
    """Twelve healthy scores; two folds make twice twelve faulty ones."""
    for tried in compared.trials.values():
        assert len({each.entry.path for each in of(tried, "normal")}) == len(of(tried, "normal")) == 12
        assert len(of(tried, "abnormal")) == 24


def test_figures_are_those_of_the_scores(compared: DetectorComparison) -> None:
    """AUC, detection, false alarms and the difference to the bar, counted anew from every score."""
    for contender in compared.contenders:
        found, tried = row(compared, contender, "fan at 6 dB"), compared.trials[contender]
        assert found.auc.value == pytest.approx(naive_auc(tried))
        for number in range(len(FALSE_ALARM_RATES)):
            for label, rates in (("abnormal", found.detected), ("normal", found.false_alarms)):
                above = [each.score > each.thresholds[number] for each in of(tried, label)]
                assert rates[number].value == pytest.approx(np.mean(above))
        if contender != BASELINE:
            difference = naive_auc(tried) - naive_auc(compared.trials[BASELINE])
            assert found.auc_difference.value == pytest.approx(difference)
    assert row(compared, BASELINE, "fan at 6 dB").auc_difference == UNDEFINED


def test_grave_faults_are_heard(compared: DetectorComparison) -> None:
    """The default tells grave faults of simulated fans from health, better than guessing by its whole interval."""
    auc = row(compared, DEFAULT_CONTENDER, "fan at 6 dB").auc
    assert auc.low is not None
    assert auc.low > 0.5


def test_abnormal_recordings_teach_nothing(compared: DetectorComparison, fans: Dataset) -> None:
    """Without them scores, thresholds and false alarms stay what they were, and what needs them is undefined."""
    healthy = replace(fans, entries=tuple(entry for entry in fans.entries if entry.label == "normal"))
    alone = compare_detectors(healthy, (), processes=1)
    for contender in alone.contenders:
        assert alone.trials[contender] == tuple(of(compared.trials[contender], "normal"))
        found, before = (row(each, contender, "fan at 6 dB") for each in (alone, compared))
        assert [rate.value for rate in found.false_alarms] == [rate.value for rate in before.false_alarms]
        assert (found.auc, found.auc_difference, found.detected) == (UNDEFINED, UNDEFINED, (UNDEFINED, UNDEFINED))


def test_recordings_are_tried_louder_or_softer(compared: DetectorComparison, fans: Dataset) -> None:
    """A random gain on each moves the bar, which hears the level, and not the default, which does not."""
    still = compare_detectors(fans, (), gain_db=0.0, processes=1)
    moved = {
        name: max(
            abs(one.score - other.score) for one, other in zip(still.trials[name], compared.trials[name], strict=True)
        )
        for name in (DEFAULT_CONTENDER, BASELINE)
    }
    assert moved[DEFAULT_CONTENDER] < 0.01 < 0.1 < moved[BASELINE]


def test_sounds_that_are_no_machine_are_counted(compared: DetectorComparison) -> None:
    """All are rejected by the default, the three pure tones by an alarm."""
    rejections = {each.contender: each for each in compared.rejections}
    assert set(rejections) == set(compared.contenders)
    assert {each.n for each in rejections.values()} == {4}
    assert rejections[DEFAULT_CONTENDER].rejected[0].value == 1
    assert rejections[DEFAULT_CONTENDER].alarmed[0].value >= 0.75


def test_what_is_not_judged_is_rejected_too(compared: DetectorComparison) -> None:
    """A fan that is switched on and off raises no alarm of an engine that hears no movement; the guard hears it."""
    (rejection,) = (each for each in compared.rejections if each.contender == "spectrum-gaussian")
    assert rejection.rejected[0].value == 1
    assert rejection.alarmed[0].value == 0.75


def test_what_is_not_judged_is_counted(compared: DetectorComparison) -> None:
    """Of healthy, of faulty recordings and of other sounds, each once: twelve, twelve and four."""
    assert [(each.what, each.n) for each in compared.refusals] == [("normal", 12), ("abnormal", 12), ("no machine", 4)]
    for each in compared.refusals:
        assert each.refused.value is not None
        assert 0 <= each.refused.value <= 1


def test_what_few_recordings_bear_out_is_said(compared: DetectorComparison) -> None:
    """Six healthy recordings bear out no rate of 1 %; the notes say so, and what was held out how."""
    assert any("bear out no false-alarm rate below 14 %" in note for note in compared.notes)
    assert any("by halves in time" in note for note in compared.notes)


def test_it_is_written_as_plain_values(compared: DetectorComparison) -> None:
    """JSON holds every row with its counts and intervals."""
    values = json.loads(json.dumps(compared.to_dict(), allow_nan=False))
    assert len(values["rows"]) == len(compared.rows)
    assert set(values["rows"][0]["auc"]) == {"value", "low", "high"}
    assert values["stated"] == [0.05, 0.01]
    assert values["fingerprint"] == compared.fingerprint


def test_the_page_holds_everything_and_needs_nothing(compared: DetectorComparison, tmp_path: Path) -> None:
    """Tables, scores of each contender about the threshold, a spectrum of each machine; names are never markup."""
    target = tmp_path / "report.html"
    write_comparison_report(target, replace(compared, dataset=HOSTILE))
    page = target.read_text()
    for name in compared.contenders:
        assert f"Scores of {name}" in page
    for machine in ("fan/id_00 at 6 dB", "fan/id_01 at 6 dB"):
        assert f"Mean spectrum of {machine}" in page
    assert page.count("<svg") == len(compared.contenders) + 2
    assert "times the threshold" in page
    assert "mathdefault" not in page
    assert HOSTILE not in page
    assert "http" not in page.replace("https://", "http").split("</style>")[1]


def test_engines_that_there_are_not_are_refused(fans: Dataset) -> None:
    """By name, before anything is listened to."""
    with pytest.raises(InvalidParameter, match="no engine 'crystal-ball'"):
        compare_detectors(fans, ("distance+crystal-ball",))


def test_too_few_healthy_recordings_are_refused(fans: Dataset) -> None:
    """With how many there are."""
    few = replace(fans, entries=fans.entries[:3])
    with pytest.raises(DatasetEmpty, match="healthy recordings; three that are learned from"):
        compare_detectors(few, ())


def test_a_folder_without_sounds_is_refused(fans: Dataset, tmp_path: Path) -> None:
    """Nothing that is no machine can be rejected where there is nothing."""
    with pytest.raises(DatasetEmpty, match=r"holds no \.wav or \.flac file"):
        compare_detectors(fans, (), out_of_domain=tmp_path)
