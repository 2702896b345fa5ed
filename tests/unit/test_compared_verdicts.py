"""Verdicts of a comparison: at the threshold that is served, with a sentence about their origin."""

from dataclasses import replace
from pathlib import Path

import pytest

from ml.models.labels import UNKNOWN_FAULT
from ml.training.compared_verdicts import VerdictOrigin, at_threshold
from ml.training.verdicts import read_verdicts, write_verdicts
from tests.unit.judgements import entry, verdict

SCORES = (0.2, 0.4, 0.6, 0.8)


def test_another_threshold_gives_other_verdicts() -> None:
    """A score above the threshold is anomalous; a recording that was not judged stays so."""
    judged = [verdict(entry(number), score) for number, score in enumerate(SCORES)]
    judged[3] = replace(judged[3], anomaly=False, unusable=True)
    assert [each.anomaly for each in at_threshold(judged, 0.3, faults_named=False)] == [False, True, True, False]
    assert [each.anomaly for each in at_threshold(judged, 0.6, faults_named=False)] == [False] * 4


def test_a_fault_that_the_classifier_names_does_not_depend_on_the_detectors_threshold() -> None:
    """Beside a detector, an alarm with the name of a fault is the classifier's; an unknown fault is the detector's."""
    named, unknown = (verdict(entry(0), 0.6, predicted=name) for name in ("imbalance", UNKNOWN_FAULT.name))
    assert [each.anomaly for each in at_threshold([named, unknown], 0.7, faults_named=True)] == [True, False]
    assert [each.anomaly for each in at_threshold([named, unknown], 0.7, faults_named=False)] == [False, False]


@pytest.mark.parametrize(
    ("origin", "sentence"),
    [
        (VerdictOrigin(0.5, 0.5, True, False), "are those of the model that is served, at its threshold 0.5."),
        (
            VerdictOrigin(0.714, 0.7461, False, False),
            "are those of its fit without these recordings at the threshold 0.714; the fit that is served has the "
            "threshold 0.746.",
        ),
        (VerdictOrigin(None, 0.5, False, False), "without these recordings; the fit that is served"),
        (VerdictOrigin(0.5, 0.5, False, True), "The served network learned from more recordings; its verdicts can"),
    ],
)
def test_the_origin_of_verdicts_is_described(origin: VerdictOrigin, sentence: str) -> None:
    """The sentence names fit and threshold; for a network it states that the served one can be better."""
    described = origin.describe("fan-0123456789")
    assert described.startswith("The verdicts of fan-0123456789 are those")
    assert sentence in described


def test_verdicts_of_earlier_trainings_are_read(tmp_path: Path) -> None:
    """Their table has no column ``unusable``."""
    judged = [verdict(entry(number), score) for number, score in enumerate(SCORES)]
    folder = tmp_path / "training" / "fan-0123456789"
    folder.mkdir(parents=True)
    write_verdicts(folder, judged, judged)
    table = folder / "verdicts.csv"
    table.write_text("\n".join(line.rpartition(",")[0] for line in table.read_text().splitlines()))
    assert table.read_text().splitlines()[0].endswith(",path")
    assert list(read_verdicts(tmp_path, folder.name, [each.entry for each in judged], "random")) == judged
