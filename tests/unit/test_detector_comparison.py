"""Comparison of detectors: cross-validated, paired with the baseline, and stored with all counts."""

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
    """Two simulated fans, six normal and six abnormal recordings of each, without named sessions."""
    folder = tmp_path_factory.mktemp("fans") / "fans"
    plan = SimulationPlan(machines=2, sessions=1, recordings=2, snr_db=(6.0,), duration_s=2.0, severity=(0.9, 1.0))
    return index(simulate(folder, plan=plan, processes=1) / "6_dB_fan", processes=1)


@pytest.fixture(scope="module")
def out_of_domain(fans: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tones, and a normal recording that is switched on and off."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(3):
        tone = sounds.sine(500.0 * (number + 1), 16_000, 16_000, 0.3)
        (folder / f"{number}.wav").write_bytes(sounds.recording(tone))
    normal = next(entry for entry in fans.entries if entry.label == "normal")
    recording = decode(fans.file(normal))
    seconds = np.arange(len(recording.samples)) / recording.sample_rate_hz
    switched = recording.samples * (0.05 + (seconds % 1 < 0.5))
    (folder / "switched.wav").write_bytes(sounds.recording(switched[:, None], "float32", recording.sample_rate_hz))
    return folder


@pytest.fixture(scope="module")
def compared(fans: Dataset, out_of_domain: Path) -> DetectorComparison:
    """The fans, by three engines beside the default and the baseline."""
    engines = ("distance", "distance+fluctuation", "spectrum-gaussian")
    return compare_detectors(fans, engines, out_of_domain=out_of_domain, processes=1)


def row(comparison: DetectorComparison, contender: str, name: str) -> ComparisonRow:
    """The row of a contender for these recordings."""
    (found,) = (each for each in comparison.rows if (each.contender, each.name) == (contender, name))
    return found


def of_label(trials: tuple[Trial, ...], label: str) -> list[Trial]:
    """The trials of one class."""
    return [each for each in trials if each.entry.label == label]


def naive_auc(trials: tuple[Trial, ...]) -> float:
    """AUC from a loop over all pairs."""
    pairs = product(
        (each.score for each in of_label(trials, "abnormal")), (each.score for each in of_label(trials, "normal"))
    )
    return float(np.mean([(abnormal > normal) + 0.5 * (abnormal == normal) for abnormal, normal in pairs]))


def test_every_contender_has_a_row_in_every_slice(compared: DetectorComparison) -> None:
    """The default is first, the baseline last; the kind of machine has a row, and so has each machine."""
    assert compared.contenders == (DEFAULT_CONTENDER, "distance", "distance+fluctuation", "spectrum-gaussian", BASELINE)
    names = ["fan at 6 dB", "fan/id_00 at 6 dB", "fan/id_01 at 6 dB"]
    assert [(each.name, each.contender) for each in compared.rows] == list(product(names, compared.contenders))
    for each in compared.rows:
        recordings = 12 if each.kind == "kind" else 6
        assert (each.normal, each.abnormal) == (recordings, recordings)


def test_normal_recordings_are_tested_once_and_abnormal_ones_in_each_fold(compared: DetectorComparison) -> None:
    """There are twelve normal scores, and in two folds twice twelve abnormal ones."""
    for trials in compared.trials.values():
        assert len({each.entry.path for each in of_label(trials, "normal")}) == len(of_label(trials, "normal")) == 12
        assert len(of_label(trials, "abnormal")) == 24


def test_figures_equal_those_of_loops(compared: DetectorComparison) -> None:
    """AUC, detection, false alarms and the difference to the baseline equal those of loops over the scores."""
    for contender in compared.contenders:
        found, trials = row(compared, contender, "fan at 6 dB"), compared.trials[contender]
        assert found.auc.value == pytest.approx(naive_auc(trials))
        for number in range(len(FALSE_ALARM_RATES)):
            for label, rates in (("abnormal", found.detected), ("normal", found.false_alarms)):
                above = [each.score > each.thresholds[number] for each in of_label(trials, label)]
                assert rates[number].value == pytest.approx(np.mean(above))
        if contender != BASELINE:
            difference = naive_auc(trials) - naive_auc(compared.trials[BASELINE])
            assert found.auc_difference.value == pytest.approx(difference)
    assert row(compared, BASELINE, "fan at 6 dB").auc_difference == UNDEFINED


def test_severe_faults_are_detected(compared: DetectorComparison) -> None:
    """The default separates severe faults of simulated fans with an interval above 0.5."""
    auc = row(compared, DEFAULT_CONTENDER, "fan at 6 dB").auc
    assert auc.low is not None
    assert auc.low > 0.5


def test_nothing_is_learned_from_abnormal_recordings(compared: DetectorComparison, fans: Dataset) -> None:
    """Without them scores, thresholds and false alarms stay the same, and figures that need them are undefined."""
    normal = replace(fans, entries=tuple(entry for entry in fans.entries if entry.label == "normal"))
    alone = compare_detectors(normal, (), processes=1)
    for contender in alone.contenders:
        assert alone.trials[contender] == tuple(of_label(compared.trials[contender], "normal"))
        found, before = (row(each, contender, "fan at 6 dB") for each in (alone, compared))
        assert [rate.value for rate in found.false_alarms] == [rate.value for rate in before.false_alarms]
        assert (found.auc, found.auc_difference, found.detected) == (UNDEFINED, UNDEFINED, (UNDEFINED, UNDEFINED))


def test_recordings_are_tested_with_a_random_gain(compared: DetectorComparison, fans: Dataset) -> None:
    """A gain changes the baseline's scores, which depend on the level, and not the default's."""
    still = compare_detectors(fans, (), gain_db=0.0, processes=1)
    moved = {
        name: max(
            abs(one.score - other.score) for one, other in zip(still.trials[name], compared.trials[name], strict=True)
        )
        for name in (DEFAULT_CONTENDER, BASELINE)
    }
    assert moved[DEFAULT_CONTENDER] < 0.01 < 0.1 < moved[BASELINE]


def test_out_of_domain_sounds_are_counted(compared: DetectorComparison) -> None:
    """The default rejects all of them, the three tones by an alarm."""
    rejections = {each.contender: each for each in compared.rejections}
    assert set(rejections) == set(compared.contenders)
    assert {each.n for each in rejections.values()} == {4}
    assert rejections[DEFAULT_CONTENDER].rejected[0].value == 1
    assert rejections[DEFAULT_CONTENDER].alarmed[0].value >= 0.75


def test_an_unusable_recording_counts_as_rejected(compared: DetectorComparison) -> None:
    """A fan that is switched on and off raises no alarm of a spectrum engine; the out-of-domain check rejects it."""
    (rejection,) = (each for each in compared.rejections if each.contender == "spectrum-gaussian")
    assert rejection.rejected[0].value == 1
    assert rejection.alarmed[0].value == 0.75


def test_unusable_recordings_are_counted(compared: DetectorComparison) -> None:
    """Normal, abnormal and out-of-domain recordings count once each: twelve, twelve and four."""
    assert [(each.what, each.n) for each in compared.refusals] == [("normal", 12), ("abnormal", 12), ("no machine", 4)]
    for each in compared.refusals:
        assert each.refused.value is not None
        assert 0 <= each.refused.value <= 1


def test_the_notes_state_the_lowest_rate_that_few_recordings_support(compared: DetectorComparison) -> None:
    """Six normal recordings support no rate of 1 %; the notes state the lowest rate and how recordings were held
    out."""
    assert any("The lowest false-alarm rate that they support is 14 %." in note for note in compared.notes)
    assert any("else halves in time" in note for note in compared.notes)


def test_a_comparison_becomes_plain_values(compared: DetectorComparison) -> None:
    """The JSON has every row with its counts and intervals."""
    values = json.loads(json.dumps(compared.to_dict(), allow_nan=False))
    assert len(values["rows"]) == len(compared.rows)
    assert set(values["rows"][0]["auc"]) == {"value", "low", "high"}
    assert values["stated"] == [0.05, 0.01]
    assert values["fingerprint"] == compared.fingerprint


def test_the_page_is_complete_and_needs_no_network(compared: DetectorComparison, tmp_path: Path) -> None:
    """It has tables, the scores of each contender and a spectrum of each machine; names are never markup."""
    target = tmp_path / "report.html"
    write_comparison_report(target, replace(compared, dataset=HOSTILE))
    page = target.read_text()
    for name in compared.contenders:
        assert f"Scores of {name}" in page
    for machine in ("fan/id_00 at 6 dB", "fan/id_01 at 6 dB"):
        assert f"Mean spectrum of {machine}" in page
    assert page.count("<svg") == len(compared.contenders) + 2
    assert "multiples of the threshold" in page
    assert "mathdefault" not in page
    assert HOSTILE not in page
    assert "http" not in page.replace("https://", "http").split("</style>")[1]


def test_unknown_engines_are_refused(fans: Dataset) -> None:
    """The message names the engine, before any recording is read."""
    with pytest.raises(InvalidParameter, match="no engine 'crystal-ball'"):
        compare_detectors(fans, ("distance+crystal-ball",))


def test_too_few_normal_recordings_are_refused(fans: Dataset) -> None:
    """The message has the number of normal recordings."""
    few = replace(fans, entries=fans.entries[:3])
    message = r"has 0 normal recordings\. A comparison needs three to learn from, two of them of one machine"
    with pytest.raises(DatasetEmpty, match=message):
        compare_detectors(few, ())


def test_a_folder_without_recordings_is_refused(fans: Dataset, tmp_path: Path) -> None:
    """An empty folder of out-of-domain sounds is refused."""
    with pytest.raises(DatasetEmpty, match=r"contains no \.wav or \.flac file"):
        compare_detectors(fans, (), out_of_domain=tmp_path)
