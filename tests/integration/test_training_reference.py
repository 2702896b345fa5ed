"""A training with a reference channel, from the command line to the answer."""

import csv
import io
import json
from pathlib import Path

import pytest

from api.main import create_app
from api.settings import Settings
from ml.errors import InvalidParameter
from ml.models.registry import Registry
from ml.training.options import TrainingOptions
from ml.training.paths import report_path
from tests.commands import assert_one_sentence, signalml
from tests.integration.trainings import Training
from tests.unit import pairs
from tests.unit.asgi import AppClient
from worker.jobs import RetrainingParameters

CHANNELS = ("--main-channel", 0, "--reference-channel", 1)
USED = "The reference channel 1 explains 9"


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of two machines by two microphones."""
    return pairs.write(tmp_path_factory.mktemp("data") / "hall")


@pytest.fixture(scope="module")
def trained(hall: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """``signalml train hall --detector --promote --main-channel 0 --reference-channel 1``. For reading."""
    home = tmp_path_factory.mktemp("home")
    return Training.of(home, signalml(home, "train", hall, "--detector", "--promote", "--processes", 1, *CHANNELS))


def test_the_training_states_that_the_reference_is_used(trained: Training) -> None:
    """One line, beside the threshold."""
    (line,) = [line for line in trained.done.stdout.splitlines() if "reference channel" in line]
    assert line.startswith(USED)
    assert line.endswith("% of the variation between recordings of a machine: it is used.")


def test_card_and_features_have_the_reference_channel(trained: Training) -> None:
    """On the command line, and in the answer of the service."""
    shown = json.loads(signalml(trained.home, "models", "show").stdout)
    client = AppClient(create_app(Settings(home=trained.home)))
    for facts in (shown, client.get(f"/v1/models/{trained.version}").json()):
        assert (facts["features"]["channel"], facts["features"]["reference_channel"]) == (0, 1)
        reference = facts["card"]["detector"]["reference_channel"]
        assert (reference["channel"], reference["used"]) == (1, True)
        assert 0.9 < reference["explained"] < 0.98
        assert reference["pair_contrast"] > reference["main_contrast"]


def test_the_report_has_a_recording_of_each_label_before_and_after(trained: Training) -> None:
    """In a section of its own."""
    page = report_path(trained.home, trained.version).read_text()
    assert USED in page
    for number, label in ((1, "normal"), (2, "abnormal")):
        assert f'<figure id="hall-{number}">\n<h3>With and without the hall: {label}</h3>' in page


def test_batch_scores_state_what_was_judged(trained: Training, hall: Path, tmp_path: Path) -> None:
    """A column with the state of the reference, and a line with the recordings judged without it."""
    folder = tmp_path / "fan" / "id_00" / "normal"
    for seed in range(2):
        pairs.put(folder / f"mono-{seed}.wav", pairs.pair(seed)[:, 0])
    pairs.put(folder / "pair.wav", pairs.pair(3))
    done = signalml(trained.home, "score", tmp_path, "--format", "csv", "--processes", 1)
    rows = {row["name"].rpartition("/")[2]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert [rows[name]["reference"] for name in ("mono-0.wav", "mono-1.wav", "pair.wav")] == [
        *("missing", "missing"),
        "used",
    ]
    assert {row["verdict"] for row in rows.values()} == {"normal"}
    printed = signalml(trained.home, "score", tmp_path, "--processes", 1).stdout
    assert "Judged by the main channel alone, because of the reference channel: 2 missing." in printed
    whole = signalml(trained.home, "score", folder / "pair.wav", "--machine", "fan/id_00", "--processes", 1).stdout
    assert "main channel" not in whole


def test_a_reference_that_does_not_help_is_not_used(tmp_path: Path) -> None:
    """The line has the reason, the card and the report too, and answers name it ``unused``."""
    for number, blade_hz in enumerate(pairs.MACHINES.values()):
        for seed in range(8):
            samples = pairs.pair(100 * number + seed, blade_hz, bleed=0.9)
            pairs.put(tmp_path / "data" / "fan" / f"id_0{number}" / "normal" / f"{seed:02}.wav", samples)
    done = signalml(tmp_path, "train", tmp_path / "data", "--detector", "--promote", "--processes", 1, *CHANNELS)
    reason = "it is not used, because the machines are not distinguished better"
    assert reason in done.stdout
    version = done.stdout.splitlines()[-1]
    page = report_path(tmp_path, version).read_text()
    assert reason in page
    assert 'id="hall-1"' not in page
    predictor = Registry(tmp_path).load_predictor(version)
    assert predictor.model.bundle.content.card["detector"]["reference_channel"]["used"] is False
    found = predictor.predict(predictor.decode(pairs.recorded(pairs.pair(5, bleed=0.9))), "fan/id_00", explain=True)
    assert found.quality.reference == "unused"
    assert found.explanation is not None
    assert {band.hall_db for band in found.explanation.band_deviations} == {None}


def test_recordings_without_the_channel_are_refused(tmp_path: Path) -> None:
    """In one sentence, without a model."""
    for seed in range(8):
        pairs.put(tmp_path / "data" / "normal" / f"{seed:02}.wav", pairs.pair(seed)[:, 0])
    done = signalml(tmp_path / "home", "train", tmp_path / "data", "--detector", "--processes", 1, *CHANNELS)
    assert done.returncode == 1
    assert "have no channel 1 (counted from 0) with an unclipped sound" in done.stderr
    assert Registry(tmp_path / "home").versions() == []


def test_a_retraining_takes_the_channels() -> None:
    """The schema of the job and the options of the command line have both, with the same limits and refusals."""
    given = {"dataset": "hall-3", "learn": "detector", "main_channel": 0, "reference_channel": 1}
    parameters = RetrainingParameters.model_validate(given)
    assert (parameters.main_channel, parameters.reference_channel) == (0, 1)
    properties = create_app(Settings()).openapi()["components"]["schemas"]["RetrainingParameters"]["properties"]
    for name in ("main_channel", "reference_channel"):
        number, nothing = properties[name]["anyOf"]
        assert (number["minimum"], number["maximum"], nothing["type"]) == (0, 63, "null")
    for wrong, message in (
        ({"learn": "classifier"}, "needs learn 'detector' or 'both'"),
        ({"main_channel": 1}, "main_channel and reference_channel are both 1"),
        ({"reference_channel": 64}, "less than or equal to 63"),
        ({"reference_channel": -1}, "greater than or equal to 0"),
    ):
        with pytest.raises(ValueError, match=message):
            RetrainingParameters.model_validate(given | wrong)


def test_the_command_line_takes_the_channels(hall: Path, tmp_path: Path) -> None:
    """Without a detector, the option is refused; the key of a training has the channels only if they are given."""
    refused = signalml(tmp_path, "train", hall, "--reference-channel", 1)
    assert_one_sentence(refused, "--reference-channel needs a detector; --detector or --both was expected")
    with pytest.raises(InvalidParameter, match="two channels were expected"):
        TrainingOptions(source=hall, name="x", learn="detector", main_channel=1, reference_channel=1)
    defaults = TrainingOptions(source=hall, name="x", learn="detector")
    assert not {"main_channel", "reference_channel"} & set(defaults.to_dict())
    chosen = TrainingOptions(source=hall, name="x", learn="detector", reference_channel=1).to_dict()
    assert chosen["reference_channel"] == 1
    assert "main_channel" not in chosen
