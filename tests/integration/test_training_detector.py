"""A detector from the command line to the answer: learned from healthy sound, measured, served, retrained as a job."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.models.registry import Registry
from ml.training import records
from ml.training.detector_stage import in_recording_order
from ml.training.options import TrainingOptions
from ml.training.paths import report_path
from ml.training.split_stage import split_normal
from testing.jobs import run_jobs
from testing.servers import Serve, ServerProcess
from tests import sounds
from tests.commands import assert_one_sentence, signalml, succeeds
from tests.integration.trainings import Training, record_folders, versions
from tests.integration.uploads import WAV_TYPE
from tests.unit.judgements import entry
from worker.jobs import RetrainingParameters

PLAN = SimulationPlan(machines=2, sessions=4, recordings=3, snr_db=(6.0,), duration_s=2.0, severity=(0.8, 1.0))


@pytest.fixture(scope="module")
def fans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated recordings of two fans."""
    return simulate(tmp_path_factory.mktemp("simulated") / "hall-3", plan=PLAN, processes=1)


@pytest.fixture(scope="module")
def healthy_only(fans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their healthy recordings alone, in the MIMII layout, without a manifest."""
    target = tmp_path_factory.mktemp("healthy") / "Hall 3, east"
    shutil.copytree(fans, target, ignore=shutil.ignore_patterns("abnormal", "*.csv"))
    return target


@pytest.fixture(scope="module")
def trained(fans: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """``signalml train hall-3 --detector --promote``. For reading."""
    home = tmp_path_factory.mktemp("home")
    options = ("--detector", "--promote", "--false-alarm-rate", 0.05, "--processes", 1)
    return Training.of(home, signalml(home, "train", fans, *options))


@pytest.fixture(scope="module")
def server(trained: Training, serve_for_all: Serve) -> ServerProcess:
    """A server of the detector."""
    return serve_for_all(trained.home)


def recordings(fans: Path, label: str, machine_id: str = "id_00") -> list[bytes]:
    """Files of one machine."""
    return [file.read_bytes() for file in sorted(fans.rglob(f"{machine_id}/{label}/*.wav"))]


def predicted(server: ServerProcess, wav: bytes, **query: object) -> Any:
    """The full answer."""
    answer = server.client.post("/v1/predict", content=wav, headers=WAV_TYPE, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_it_prints_which_threshold_is_served_and_that_it_answers(trained: Training) -> None:
    """The one of the last fit first; then the one that the figures were measured at, since it is another."""
    evaluation = records.read_evaluation(trained.home, trained.version)
    assert evaluation is not None
    served = Registry(trained.home).threshold_revisions(trained.version)[-1].decision
    lines = trained.done.stdout.splitlines()
    *_, third, version = lines
    first, second = lines[(at := next(i for i, line in enumerate(lines) if line.startswith("Threshold:"))) : at + 2]
    assert first == f"Threshold: a score above {served.threshold:.4g} is anomalous ({served.basis})."
    assert second.startswith("The figures above are from the fit without the test side; its threshold is ")
    assert second.endswith(f" {evaluation.threshold:.4g}.")
    assert third == "The model is the champion now: it answers uploads."
    assert version == trained.version


def test_it_prints_what_the_served_detector_finds(trained: Training, fans: Path) -> None:
    """At each sensitivity, of the abnormal recordings, as it then answers; the table is printed."""
    predictor = Registry(trained.home).load_predictor(trained.version)
    found = predictor.model.bundle.content.card["detector"]["operating"]
    files = sorted(fans.rglob("abnormal/*.wav"))
    scores = [
        predictor.predict(predictor.decode(file.read_bytes()), file.parent.parent.name).worst.score for file in files
    ]
    assert found["abnormal"] == len(files)
    assert [point["sensitivity"] for point in found["points"]] == ["low", "medium", "high"]
    for point in found["points"]:
        share, low, high = point["detected"]
        assert share == pytest.approx(sum(score > point["threshold"] for score in scores) / len(scores))
        assert low <= share <= high
    assert "of the 72 abnormal recordings" in trained.done.stdout
    assert f"signalml thresholds {trained.version} --sensitivity high" in trained.done.stdout


def test_it_is_called_as_its_recordings_and_kept_whole(trained: Training) -> None:
    """Named after the folder, with a split, figures and a report, and no network in the bundle."""
    assert trained.version.startswith("hall-3-")
    assert versions(trained.home) == record_folders(trained.home) == [trained.version]
    there = {path.name for path in (trained.home / "models" / trained.version).iterdir()}
    assert "network.tflite" not in there
    assert {"detector.json", "detector.npz"} <= there
    assert "detector" in report_path(trained.home, trained.version).read_text(encoding="utf-8")


def test_no_abnormal_recording_is_learned_from(trained: Training, fans: Path) -> None:
    """All of them are on the test side, and the detector's own list of recordings has none."""
    bundle = Registry(trained.home).read(trained.version)
    assert bundle.content.detector is not None
    names = bundle.content.detector.reference.names
    assert names
    assert not [name for name in names if "abnormal" in name]
    rows = (trained.records / "split.csv").read_text().splitlines()
    abnormal = [row for row in rows if "abnormal" in row]
    assert len(abnormal) == len(list(fans.rglob("abnormal/*.wav")))
    assert all(",test," in row for row in abnormal)


def test_a_machine_that_is_held_out_is_judged_alone(fans: Path) -> None:
    """Its recordings, healthy and not, and no abnormal one of the machine that is learned from."""
    sides = split_normal(
        index(fans), TrainingOptions(source=fans, name="x", learn="detector", split="machine", held_out="id_01")
    )
    assert {entry.annotation.machine_id for entry in sides.test} == {"id_01"}
    assert {entry.label for entry in sides.test} == {"normal", "abnormal"}
    assert {entry.annotation.machine_id for entry in (*sides.train, *sides.validation)} == {"id_00"}
    assert {entry.annotation.machine_id for entry, _ in sides.left_out} == {"id_00"}
    assert sum(entry.label == "abnormal" for entry, _ in sides.left_out) == len(recordings(fans, "abnormal"))


def test_its_figures_are_of_recordings_it_has_not_learned_from(trained: Training) -> None:
    """On the held-out side it tells these faults, which are strong ones, from healthy fans."""
    evaluation = records.read_evaluation(trained.home, trained.version)
    assert evaluation is not None
    assert evaluation.pooled.abnormal == 72
    auc = evaluation.pooled.auc.value
    assert auc is not None
    assert auc > 0.8


def test_its_threshold_is_that_of_the_rate_that_was_asked_for(trained: Training) -> None:
    """5 % of 72 scores of recordings that had been left out: the 70th of them, so two are above it."""
    content = Registry(trained.home).read(trained.version).content
    assert content.detector is not None
    scores = content.detector.calibration.named
    assert len(scores) == 72
    assert (scores > content.decision.threshold).sum() == 2
    assert "2 of 72" in content.decision.basis


def test_uploads_are_answered(server: ServerProcess, fans: Path) -> None:
    """Healthy fans mostly pass, broken ones are of an unknown fault, and the answer has their distance."""
    healthy = [predicted(server, wav, machine_id="id_00") for wav in recordings(fans, "normal")[:12]]
    broken = [predicted(server, wav, machine_id="id_00", explain=True) for wav in recordings(fans, "abnormal")[:12]]
    assert sum(answer["verdict"] == "normal" for answer in healthy) >= 10
    alarms = [answer for answer in broken if answer["verdict"] == "anomalous"]
    assert len(alarms) >= 8
    first = alarms[0]
    assert (first["label"], first["message"], first["classes"]) == ("unknown_fault", "Unknown fault", [])
    novelty = first["novelty"]
    assert isinstance(novelty, dict)
    assert (novelty["compared_with"], novelty["machine_known"]) == ("fan/id_00", True)
    assert first["score"] == pytest.approx(novelty["times"] / (1 + novelty["times"]))
    assert novelty["p_value"] <= 0.06
    reasons = first["reasons"]
    assert isinstance(reasons, dict)
    assert sum(band["share"] for band in reasons["bands"]) == pytest.approx(1, abs=1e-3)
    digits = {"low_hz": 1, "high_hz": 1, "db": 2, "sigma": 2, "share": 4}
    for reason in (*reasons["bands"], *reasons["nearest"]):
        assert {name: round(reason[name], n) for name, n in digits.items() if name in reason}.items() <= reason.items()
    assert first["score"] != round(first["score"], 4)  # the deciding score is not rounded
    assert len(reasons["nearest"]) == 3
    assert healthy[0]["reasons"] is None


def test_the_original_clients_are_answered_too(server: ServerProcess, fans: Path) -> None:
    """Anomaly, Message and Probabilities, which are none; and what cannot be judged does not pass as healthy."""
    files = {"file": ("a.wav", recordings(fans, "normal")[0], "audio/wav")}
    assert server.client.post("/inference", files=files).json() == {
        "Anomaly": False,
        "Details": {"Message": "Component OK", "Probabilities": []},
    }
    silent = sounds.recording(sounds.noise(32_000) * 0, rate_hz=16_000)
    answer = server.client.post("/inference", files={"file": ("a.wav", silent, "audio/wav")}).json()
    assert answer["Anomaly"] is True
    assert answer["Details"]["Message"].startswith("Not judged: Every sample has the same value")
    full = predicted(server, silent)
    assert full["verdict"] == "unusable"
    assert full["unusable"] == {"why": "silence", "detail": answer["Details"]["Message"].removeprefix("Not judged: ")}


def test_a_batch_from_the_command_line_reports_it_too(trained: Training, fans: Path, tmp_path: Path) -> None:
    """A silent file is a row with its reason; the others are judged, each beside its own machine, or the one named."""
    silent = tmp_path / "silent.wav"
    silent.write_bytes(sounds.recording(sounds.noise(32_000) * 0, rate_hz=16_000))
    healthy = sorted(fans.rglob("id_00/normal/*.wav"))[0]
    done = signalml(trained.home, "score", healthy, silent, "--format", "json")
    assert done.stdout, done.stderr
    rows = json.loads(done.stdout)
    assert [row["verdict"] for row in rows] == ["normal", "unusable"]
    assert rows[1]["message"].startswith("Not judged: Every sample")
    assert done.returncode == 1
    rows = json.loads(signalml(trained.home, "score", fans, "--format", "json").stdout)
    assert {(row["machine_id"], row["compared_with"]) for row in rows} == {
        ("id_00", "fan/id_00"),
        ("id_01", "fan/id_01"),
    }
    assert {(row["truth"], row["machine_known"]) for row in rows} == {("normal", True), ("abnormal", True)}
    done = signalml(trained.home, "score", healthy, "--machine", "id_01", "--format", "json")
    assert json.loads(done.stdout)[0]["compared_with"] == "fan/id_01"
    done = signalml(trained.home, "score", healthy, "--machine", "id_07")
    assert "machine that the detector has not learned: 1." in done.stdout


def test_healthy_recordings_are_enough(healthy_only: Path, tmp_path: Path) -> None:
    """Without a single fault: a model, a threshold, false alarms counted; a classifier is refused by name."""
    version = Training.of(tmp_path, signalml(tmp_path, "train", healthy_only, "--detector", "--processes", 1)).version
    assert version.startswith("hall-3-east-")
    evaluation = records.read_evaluation(tmp_path, version)
    assert evaluation is not None
    assert (evaluation.pooled.abnormal, evaluation.pooled.auc.value) == (0, None)
    assert evaluation.pooled.false_alarm_rate.value is not None
    refused = signalml(tmp_path, "train", healthy_only, "--name", "x")
    assert refused.returncode == 1
    assert "are normal" in refused.stderr


def test_five_healthy_recordings_are_too_few(healthy_only: Path, tmp_path: Path) -> None:
    """Before a recording is read: how many there are and how many it takes; six are enough."""
    for number, file in enumerate(sorted(healthy_only.rglob("id_00/normal/*.wav"))[:6]):
        target = tmp_path / "few" / "normal" / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
        if number == 4:
            refused = signalml(tmp_path / "home", "train", tmp_path / "few", "--detector")
            assert refused.returncode == 1
            assert "5 normal recordings in few; a detector needs at least 6" in " ".join(refused.stderr.split())
    succeeds(tmp_path / "home", "train", tmp_path / "few", "--detector", "--no-refit", "--processes", 1)
    content = Registry(tmp_path / "home").read("few").content
    assert content.detector is not None
    assert sum(content.card["detector"]["healthy"].values()) == len(content.detector.reference.names)


def test_versions_of_a_recording_stand_side_by_side() -> None:
    """At whatever SNR; recordings of one SNR alone stay in the order of their names."""
    at = [
        entry(
            number,
            path=f"{snr:g}_dB_fan/fan/id_00/normal/{number:04d}.wav",
            machine="fan",
            machine_id="id_00",
            snr_db=snr,
        )
        for snr in (0.0, 6.0)
        for number in range(10)
    ]
    assert [each.path[-8:-4] for each in in_recording_order(reversed(at))] == [
        f"{number:04d}" for number in range(10) for _ in "ab"
    ]
    alone = at[:10]
    assert in_recording_order(reversed(alone)) == alone


def test_the_same_training_is_found_again(trained: Training, fans: Path, tmp_path: Path) -> None:
    """And another engine is another version."""
    home = Path(shutil.copytree(trained.home, tmp_path / "home"))
    arguments = ("train", fans, "--detector", "--false-alarm-rate", 0.05, "--processes", 1)
    again = signalml(home, *arguments)
    assert again.stdout.splitlines()[-1] == trained.version
    assert "trained before" in again.stderr
    other = Training.of(home, signalml(home, *arguments, "--engine", "neighbours", "--engine", "fluctuation"))
    assert set(versions(home)) == {trained.version, other.version}
    evaluation = records.records_folder(home, trained.version) / "evaluation.json"
    evaluation.write_bytes(evaluation.read_bytes()[:100])
    assert "trained before" not in signalml(home, *arguments).stderr  # damaged figures are measured again


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--detector", "--both"), "one of them was expected"),
        (("--engine", "distance"), "--detector or --both was expected"),
        (("--detector", "--epochs", "3", "--labels", "binary"), "--epochs, --labels has no effect with --detector"),
        (("--held-out", "id_02"), "--split machine was expected"),
        (("--detector", "--engine", "gmm"), "no engine 'gmm'"),
        (("--detector", "--engine", "distance", "--engine", "distance"), "each engine was expected once"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    fans: Path, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    """In a sentence."""
    assert_one_sentence(signalml(tmp_path / "home", "train", fans, *options), says)


def test_a_detector_and_a_classifier_in_one_model(fans: Path, tmp_path: Path, serve: Serve) -> None:
    """Known faults by name and with probabilities, what only the detector finds as unknown, from one upload."""
    succeeds(tmp_path, "train", fans, "--both", "--epochs", 4, "--no-refit", "--promote", "--processes", 1)
    content = Registry(tmp_path).read("champion").content
    assert content.fault_rule is not None
    sentence = "The classifier also decides, with its own score and its own threshold "
    assert f"{sentence}{content.fault_rule.threshold:.4g}." in succeeds(tmp_path, "thresholds")
    server = serve(tmp_path)
    answer = predicted(server, recordings(fans, "abnormal")[0], machine_id="id_00", explain=True)
    assert answer["known_faults"] is not None
    assert answer["novelty"] is not None
    assert answer["reasons"] is not None
    assert answer["bands"] == []
    version = Registry(tmp_path).resolve("champion")
    rows = csv.DictReader((records.records_folder(tmp_path, version) / "split.csv").read_text().splitlines())
    learned = [
        Path(row["path"]) for row in rows if row["side"] in ("train", "validation") and "/abnormal/" in row["path"]
    ]
    times = [
        predicted(server, (fans / path).read_bytes(), machine_id=path.parent.parent.name)["novelty"]["times"]
        for path in learned
    ]
    limit = answer["known_faults"]["farthest"]
    assert limit / (1 - limit) == pytest.approx(1.5 * max(times))
    whistle = predicted(server, sounds.recording(sounds.sine(3000.0, 32_000, 16_000, amplitude=0.5), "float32", 16_000))
    assert whistle["score"] > limit
    assert whistle["label"] == "unknown_fault"
    classes = answer["classes"]
    assert isinstance(classes, list)
    assert sum(each["probability"] for each in classes) == pytest.approx(1, abs=1e-5)
    shown = server.client.get("/v1/models/champion").json()
    assert shown["decision"]["threshold"] == pytest.approx(answer["threshold"])
    others = tmp_path / "others"
    for label in ("normal", "abnormal"):
        (others / label).mkdir(parents=True)
        for number, wav in enumerate(recordings(fans, label)[:2]):
            (others / label / f"{number}.wav").write_bytes(wav)
    noise = np.random.default_rng(0).normal(0, 0.1, (32_000, 1)).astype(np.float32)
    (others / "normal" / "noise.wav").write_bytes(sounds.recording(noise, "float32", 16_000))
    figures = json.loads(succeeds(tmp_path, "evaluate", "champion", others, "--all", "--format", "json"))
    assert figures["classes"][-1] == "unknown_fault"
    assert sum(row[-1] for row in figures["confusion"]) == 1  # the noise


def test_a_retraining_makes_detectors_too(fans: Path, tmp_path: Path) -> None:
    """As a job, by a real worker: a detector, promoted, without TensorFlow's time."""
    home = tmp_path / "home"
    shutil.copytree(fans, home / "datasets" / "hall-3")
    asked = RetrainingParameters(dataset="hall-3", learn="detector", promote="always", false_alarm_rate=0.05)
    with run_jobs(tmp_path, home) as jobs:
        jobs.start_worker(queues=("training",), children=1)
        job = jobs.submit(asked)
        ended = jobs.wait_for_end(job)
    assert ended.state == "succeeded", ended
    champion = Registry(home).read("champion")
    assert champion.content.detector is not None
    assert champion.content.litert is None
