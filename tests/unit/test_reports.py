"""The report: one page, offline, escaped, repeatable, and complete for all missing facts."""

import base64
import dataclasses
import io
import json
import re
import subprocess
import sys
import wave
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from ml.classifier.fitting import Epoch
from ml.errors import MissingExtra
from ml.evaluation.evaluating import evaluate
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.results import UNDEFINED, Estimate, Evaluation
from ml.faults.agreement import Agreement
from ml.faults.groups import FaultGroups, group_faults
from ml.features.spec import FeatureSpec
from ml.models.bundle import DecisionThreshold
from ml.models.labels import ClassLabel, ClassLabels
from ml.reports.advice import answers, warnings
from ml.reports.drawing import draw_picture, printable_name
from ml.reports.expectations import Expectations, SensitivityRow, SessionScores
from ml.reports.facts import Exemplar, HallExample, ReferenceFacts, ReportFacts
from ml.reports.formatting import flat
from ml.reports.page import write_report
from tests import sounds
from tests.unit.judgements import entry

ROOT = Path(__file__).parents[2]
HOSTILE = "<script>alert('$1$ & \"x\"')</script>"
MAX_BYTES = 8_000_000
SECTIONS = ("answers", "notes", "evaluation", "fit", "groups", "exemplars", "data", "model")
FIGURES = (
    *("sessions", "scores", "roc", "reliability", "slices", "training"),
    *("variance", "elbow", "scatter", "regions", "distances", "space"),
)


class Page(HTMLParser):
    """A parsed page: elements, their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, name: str) -> list[str]:
        """All values of an attribute."""
        return [value for _, attributes in self.elements if (value := attributes.get(name)) is not None]


def judged(number: int, rng: np.random.Generator, name: str) -> JudgedRecording:
    """A made-up verdict on one of two ids at one of two SNRs."""
    abnormal = number % 2 == 1
    score = float(np.clip(rng.normal(0.7 if abnormal else 0.3, 0.2), 0, 1))
    recording = entry(
        number,
        "abnormal" if abnormal else "normal",
        machine="fan",
        machine_id=f"id_{number // 2 % 2}",
        snr_db=(0.0, 6.0)[number // 4 % 2],
        group=f"s{number // 8}",
        level_dbfs=float(rng.normal(-20, 2)) + 6 * abnormal,
    )
    classes = ("normal", name)
    return JudgedRecording(recording, score, score > 0.5, (1 - score, score), classes[score > 0.5], classes[abnormal])


def evaluation(name: str = "imbalance") -> Evaluation:
    """The evaluation of 64 made-up verdicts."""
    rng = np.random.default_rng(0)
    verdicts = [judged(number, rng, name) for number in range(64)]
    return evaluate(verdicts, judged_with_gain=verdicts, threshold=0.5, classes=("normal", name))


def expectations(**changes: object) -> Expectations:
    """A served detector that misses 2 of 12 abnormal recordings and has 1 false alarm in 20 normal ones."""
    found = Expectations(
        threshold=0.6,
        stated_rate=0.01,
        new_session=True,
        detected=Estimate(10 / 12, 0.6, 0.95),
        false_alarms=Estimate(0.05, 0.009, 0.24),
        not_judged=(0, 20),
        has_detector=True,
        by_name=True,
        sessions=(
            SessionScores("monday", "normal", (0.2,) * 10, 0),
            SessionScores("tuesday", "normal", (0.4,) * 9 + (0.7,), 1),
            SessionScores("friday", "abnormal", (0.5,) * 2 + (0.9,) * 10, 10),
        ),
        sensitivities=(
            SensitivityRow(
                sensitivity="low",
                stated_rate=0.001,
                threshold=0.7,
                expected_rate=Estimate(0.01, 0.0, 0.2),
                detected=Estimate(0.8, 0.5, 0.9),
            ),
            SensitivityRow(
                sensitivity="high",
                stated_rate=0.05,
                threshold=0.45,
                expected_rate=Estimate(0.06, 0.01, 0.3),
                detected=Estimate(1.0, 0.76, 1.0),
            ),
        ),
    )
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]  # whatever a test changes


def grouped(n: int = 60, **changes: object) -> FaultGroups:
    """Fault groups of made-up recordings."""
    vectors = np.random.default_rng(0).normal(size=(n, 6)) + 6 * np.eye(6)[np.arange(n) % 3]
    return dataclasses.replace(group_faults(vectors), **changes)  # type: ignore[arg-type]  # whatever a test changes


def empty_axes(figure: Figure) -> None:
    """Draw empty axes."""
    figure.add_subplot()


def bare(**changes: object) -> ReportFacts:
    """The facts that every version has."""
    spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8_000.0, clip_frames=64)
    labels = ClassLabels((ClassLabel("normal", "OK", False), ClassLabel("imbalance", "Out of balance", True)))
    facts = ReportFacts(
        version="fan-hall-3-0123456789",
        card={"trained_on": "simulated fans", "limits": "One kind of fan."},
        labels=labels,
        decision=DecisionThreshold(0.5, 0.05, "95th percentile of 120 healthy validation recordings."),
        spec=spec,
    )
    return dataclasses.replace(facts, **changes)  # type: ignore[arg-type]  # whatever a test changes


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ReportFacts:
    """All facts, with twelve recordings of six seconds, one of them broken, and one too many."""
    folder = tmp_path_factory.mktemp("exemplars")
    exemplars = []
    for number in range(13):
        path = folder / f"{number}.wav"
        rate_hz = (16_000, 8_000, 44_100)[number % 3]
        path.write_bytes(sounds.recording(sounds.fan(6.0, rate_hz, seed=number), rate_hz=rate_hz))
        exemplars.append(Exemplar(f"group {number % 3 + 1}", path, f"{number}.wav, distance 0.{number}"))
    exemplars[4].path.write_bytes(b"no sound at all")
    rates = np.linspace(1, 0.2, 12).tolist()
    return bare(
        evaluation=evaluation(),
        expectations=expectations(),
        groups=grouped(),
        agreement=Agreement(60, 0.61, 0.001, 0.04, 0.58, 0.05, 0.09),
        history=tuple(
            Epoch(epoch=i, loss=r, accuracy=1 - r, validation_loss=r + 0.1, validation_accuracy=0.9 - r, seconds=1.0)
            for i, r in enumerate(rates, 1)
        ),
        best_epoch=9,
        dataset_summary={"name": "fans", "recordings": 120, "kinds": [{"machine": "fan", "recordings": 120}]},
        split_summary={"method": "group", "train": 80, "test": 40},
        exemplars=tuple(exemplars),
        notes=("A demonstration model from simulated sound.",),
    )


@pytest.fixture(scope="module")
def page(whole: ReportFacts, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page with all facts."""
    return written(tmp_path_factory.mktemp("report") / "report.html", whole)


def written(target: Path, facts: ReportFacts) -> str:
    """Write a report and read it back."""
    write_report(target, facts)
    return target.read_text("utf-8")


# One page


def test_every_section_and_every_figure_is_there(page: str) -> None:
    """Each section, the original's six pictures of groups and five more are there once."""
    ids = Page(page).attributes("id")
    assert [name for name in (*SECTIONS, *FIGURES) if ids.count(name) != 1] == []


def test_the_page_needs_no_network(page: str) -> None:
    """It has no address, imported style or script; all references are inside the page."""
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link", re.sub(r"base64,[\w+/=\n]*", "", page))
    seen = Page(page)
    references = seen.attributes("src") + seen.attributes("href") + re.findall(r"url\(([^)]*)", page)
    assert references
    assert all(reference.startswith(("#", "data:")) for reference in references)


def test_ids_are_unique_and_references_exist(page: str) -> None:
    """A figure never uses another's clip path or marker."""
    seen = Page(page)
    ids = seen.attributes("id")
    assert len(ids) == len(set(ids))
    used = [href[1:] for href in seen.attributes("href") if href.startswith("#")] + re.findall(r"url\(#([^)]*)", page)
    assert set(used) <= set(ids)


def test_every_figure_has_a_caption_and_a_description(page: str) -> None:
    """Each drawing has a text for screen readers; figures of recordings have their number."""
    drawn = re.findall(r"<figure.*?</figure>", page, re.S)
    assert len(drawn) == len(FIGURES) + 12
    assert all(re.search(r"<figcaption>.{8,}</figcaption>", figure, re.S) for figure in drawn)
    labels = [a.get("aria-label") for tag, a in Page(page).elements if tag == "svg"]
    assert all(label and len(label) > 20 for label in labels)
    for figure in drawn[: len(FIGURES)]:
        assert re.search(r"n\u00a0=\u00a0\d+|The number of recordings is next to each name", figure)


def test_drawings_use_the_colours_of_the_page(page: str) -> None:
    """Text and axes have the page's own colour, also in dark mode; there is no background."""
    assert "prefers-color-scheme: dark" in page
    assert "#010203" not in page
    assert page.count("currentColor") > 100
    for drawing in re.findall(r"<svg.*?</svg>", page, re.S):
        assert not re.search(r"(fill|stroke): (#000000|#ffffff|white|black)", drawing)


def test_the_page_is_small_enough_to_send(page: str) -> None:
    """Twelve players and all pictures are less than 8 MB."""
    assert len(page.encode()) < MAX_BYTES


def test_the_same_facts_give_the_same_bytes(page: str, whole: ReportFacts, tmp_path: Path) -> None:
    """The page has no date and no random id."""
    assert written(tmp_path / "again.html", whole) == page


def test_numbers_come_with_intervals_and_controls(page: str, whole: ReportFacts) -> None:
    """The page has the AUC with interval, with random gain and of level alone; counts; threshold, its basis and
    false-alarm rate."""
    text = " ".join(Page(page).text.split())
    assert whole.evaluation is not None
    auc = whole.evaluation.pooled.auc
    assert f"{auc.value:.3f} ({auc.low:.2f} to {auc.high:.2f})" in text
    for expected in ("AUC, random gain", "AUC of level alone", "32 normal and 32 abnormal", "fan id_0 at 6 dB", "0.05"):
        assert expected in text
    assert whole.decision.basis in text
    assert "adjusted Rand index 0.61 (chance 0.00" in text


def test_warnings_come_first(page: str) -> None:
    """The caller's notes and the report's own, on loudness and on few sessions, are before the figures."""
    notes = re.findall(r'<section class="notes".*?</section>', page, re.S)[0]
    assert page.index(notes) < page.index('id="evaluation"')
    assert "A demonstration model from simulated sound." in notes
    assert "Loudness alone separates normal from abnormal recordings: its AUC is" in notes
    assert "come from 8 sessions" in notes


# What to expect of the served model


def test_the_first_screen_answers_three_questions(page: str) -> None:
    """Use, misses and false alarms are before the warnings, with the picture of the served threshold."""
    first = re.findall(r'<section id="answers">.*?</section>', page, re.S)[0]
    assert page.index(first) < page.index('id="notes"')
    text = " ".join(Page(first).text.split())
    assert "2 of 12 abnormal recordings, from 1 session; so expect that it detects 83.3 % (60 % to 95 %)" in text
    assert "In 5 % (0.9 % to 24 %) of the normal recordings of a new session. Measured: 1 of 20" in text
    assert "The most in session tuesday: 1 of 10." in text
    assert "threshold 0.6" in Page(re.findall(r"<svg.*?</svg>", first, re.S)[0]).text


def test_the_sensitivities_are_in_a_table(page: str) -> None:
    """Each with its threshold, stated and expected rate, and detected share."""
    text = " ".join(Page(page).text.split())
    assert re.search(r"high ?0.45 ?5 % ?0.0600.01 to 0.30 ?1.0000.76 to 1.00", text)


def test_a_score_that_is_no_probability_has_no_calibration(tmp_path: Path) -> None:
    """Neither calibration curve nor Brier score."""
    rng = np.random.default_rng(0)
    verdicts = [judged(number, rng, "imbalance") for number in range(40)]
    names = ("normal", "imbalance")
    found = evaluate(verdicts, threshold=0.5, classes=names, score_is_probability=False)
    assert (found.brier, found.ece) == (UNDEFINED, UNDEFINED)
    assert not [note for note in found.notes if "Brier" in note]
    text = written(tmp_path / "report.html", bare(evaluation=found))
    assert "Brier" not in text
    assert {"roc"} <= set(Page(text).attributes("id")) - {"reliability"}
    assert "reliability" not in Page(text).attributes("id")


@pytest.mark.parametrize(
    ("changes", "use", "expected"),
    [
        ({}, "With care.", []),
        (
            {"detected": Estimate(0.79, 0.6, 0.9)},
            "Not as it is: it misses",
            ["misses 2 of 12 abnormal recordings.*signalml thresholds fan-1 --sensitivity high"],
        ),
        (
            {"detected": Estimate(0.79, 0.6, 0.9), "sensitivities": (), "has_detector": False, "by_name": False},
            "Not as it is: it misses",
            ["misses 2 of 12 abnormal recordings.*signalml train DATASET --both"],
        ),
        (
            {"detected": Estimate(0.79, 0.6, 0.9), "has_detector": False, "by_name": False, "learned_faults": (12, 12)},
            "For the recorded faults only",
            ["misses 2 of 12 abnormal recordings.*signalml thresholds fan-1 --threshold 0.45"],
        ),
        (
            {"false_alarms": Estimate(0.05, 0.011, 0.24)},
            "Not as it is: it raises",
            ["5.0% of the normal recordings are false alarms; 1 %.*signalml thresholds fan-1 --sensitivity low"],
        ),
        ({"not_judged": (1, 20)}, "With care.", ["1 of 20 normal held-out recordings are not judged"]),
        (
            {"sessions": (SessionScores("m", "normal", (0.1, 0.7), 1), SessionScores("f", "abnormal", (0.5,), 0))},
            "With care.",
            ["misses most abnormal recordings of session f", "More than 20% of the normal recordings.*session m"],
        ),
        ({"sessions": (SessionScores("m", "normal", (0.1,), 0),)}, "Try it, but expect nothing yet", []),
    ],
)
def test_each_problem_of_the_verdict_is_a_warning_with_a_command(
    changes: dict[str, object], use: str, expected: list[str]
) -> None:
    """Missed faults, false alarms, recordings without a verdict; nothing for a model without these."""
    found = expectations(**changes)
    shown = list(warnings(found, "fan-1"))
    assert answers(found)[0].answer.startswith(use)
    assert len(shown) == len(expected)
    for text, pattern in zip(shown, expected, strict=True):
        assert re.search(pattern, text)


def test_a_demonstration_model_is_only_for_a_try(tmp_path: Path) -> None:
    """Whatever its figures are."""
    facts = bare(expectations=expectations(), card={"source": {"kind": "demonstration"}})
    assert "Only to try the service: it knows no real machine." in written(tmp_path / "report.html", facts)


def test_a_model_without_problems_can_be_used() -> None:
    """Four sessions of each label and no warning: yes."""
    sessions = [
        SessionScores(str(number), label, (score,) * 5, 5 * (score > 0.6))
        for label, score in (("normal", 0.3), ("abnormal", 0.9))
        for number in range(4)
    ]
    found = expectations(
        detected=Estimate(1.0, 0.9, 1.0), false_alarms=Estimate(0.0, 0.0, 0.1), sessions=tuple(sessions)
    )
    assert answers(found)[0].answer.startswith("Yes")


def test_expectations_are_read_as_they_were_written() -> None:
    """Through JSON, without a change."""
    found = expectations()
    assert Expectations.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_many_sessions_are_reduced_to_those_near_the_threshold(tmp_path: Path) -> None:
    """The caption counts those that are left out."""
    many = tuple(SessionScores(f"s{i}", "normal", (i / 40,), 0) for i in range(30))
    text = written(tmp_path / "report.html", bare(expectations=expectations(sessions=many)))
    assert "18 more sessions are not shown" in text
    assert "s29 (1)" in text
    assert "s3 (1)" not in text


def test_nested_facts_become_rows_and_lists_of_records_tables(page: str) -> None:
    """The data card shows a summary with any keys."""
    assert re.search(r"<th scope=\"col\">machine</th>.*?<td>fan</td>", page, re.S)
    assert dict(
        flat({"a_b": {"c": "text", "rate_hz": 123456}, "durations_s": {"min": 1.23456, "max": None}, "e": [1, 2]})
    ) == {
        "a b \N{MIDDLE DOT} c": "text",
        "a b \N{MIDDLE DOT} rate (Hz)": "123,456",
        "durations (s)": "min 1.235, max \N{EN DASH}",
        "e": "1, 2",
    }


# Players


def test_players_have_the_sound_in_the_page(page: str) -> None:
    """Eleven readable exemplars are 16-bit mono WAV of 5 s at 16 kHz or less, neither silent nor clipped."""
    players = [a["src"] or "" for tag, a in Page(page).elements if tag == "audio"]
    assert len(players) == 11
    for player in players:
        with wave.open(io.BytesIO(base64.b64decode(player.removeprefix("data:audio/wav;base64,")))) as sound:
            assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2)
            assert sound.getframerate() in (8_000, 16_000)
            assert sound.getnframes() == 5 * sound.getframerate()
            samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
            assert np.abs(samples.astype(int)).max() == pytest.approx(0.89 * 32_767, abs=1)


def test_a_broken_recording_is_named_and_nothing_else_is_lost(page: str) -> None:
    """The reason is in the place of its picture, and exemplars beyond the limit are counted."""
    text = " ".join(Page(page).text.split())
    assert "4.wav cannot be read: This is" in text
    assert "1 more were chosen" in text


def test_a_missing_or_silent_recording_is_no_obstacle_to_the_report(tmp_path: Path) -> None:
    """A missing file is named, and digital silence has a player."""
    silent = tmp_path / "silent.wav"
    silent.write_bytes(sounds.recording(np.zeros((16_000, 1))))
    exemplars = (Exemplar("gone", tmp_path / "gone.wav", "gone"), Exemplar("silent", silent, "digital silence"))
    text = written(tmp_path / "report.html", bare(exemplars=exemplars))
    assert "gone.wav cannot be read: No such file" in text
    assert str(tmp_path) not in text
    assert text.count("<audio") == 1


# Missing facts and hostile names


def test_missing_facts_are_left_out_and_named(tmp_path: Path) -> None:
    """With the fewest facts, the page lists the missing sections with their reasons."""
    text = written(tmp_path / "report.html", bare())
    ids = Page(text).attributes("id")
    assert "model" in ids
    assert not {"answers", "evaluation", "fit", "groups", "exemplars", "data", "notes"} & set(ids)
    for missing in (
        "No evaluation:",
        "No training curves:",
        "No fault groups:",
        "No example recordings:",
        "No data card:",
    ):
        assert missing in text


@pytest.mark.parametrize("kept", ["normal", "abnormal"])
def test_an_evaluation_of_one_class(kept: str, tmp_path: Path) -> None:
    """Without a ROC the scores are drawn, and other figures are left out or a dash."""
    rng = np.random.default_rng(0)
    some = [verdict for number in range(40) if (verdict := judged(number, rng, "imbalance")).entry.label == kept]
    found = evaluate(some, threshold=0.5, classes=("normal", "imbalance"))
    ids = Page(written(tmp_path / "report.html", bare(evaluation=found))).attributes("id")
    assert "scores" in ids
    assert "roc" not in ids


@pytest.mark.parametrize("n", [3, 4, 2500])
def test_groups_of_any_number_of_recordings(n: int, tmp_path: Path) -> None:
    """Three recordings work, and many recordings are drawn as pixels."""
    text = written(tmp_path / "report.html", bare(groups=grouped(n)))
    assert len(text) < 2_000_000
    assert ("data:image/png" in re.findall(r'<figure id="scatter">.*?</figure>', text, re.S)[0]) == (n > 2000)


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    """A script, a formula, a line break or a lone surrogate in a name is shown as text or replaced."""
    sound = tmp_path / "a.wav"
    sound.write_bytes(sounds.recording(sounds.fan(0.5)))
    awkward = f"{HOSTILE}\x00\n\udcff \u98a8\u6247"
    facts = bare(
        labels=ClassLabels((ClassLabel("normal", HOSTILE, False), ClassLabel(awkward[:64], "message", True))),
        evaluation=evaluation(awkward),
        groups=grouped(),
        group_names=(HOSTILE, awkward, "$\\frac{1}$"),
        card={HOSTILE: awkward, "nested": {HOSTILE: [awkward, {"key": HOSTILE}]}},
        dataset_summary={"refusals": [{"path": awkward, "reason": HOSTILE}]},
        exemplars=(Exemplar(HOSTILE, sound, awkward), Exemplar("gone", tmp_path / "<b>.wav", HOSTILE)),
        notes=(HOSTILE,),
    )
    text = written(tmp_path / "report.html", facts)
    seen = Page(text)
    assert "script" not in {tag for tag, _ in seen.elements}
    assert "b" not in {tag for tag, _ in seen.elements}
    assert HOSTILE in seen.text
    assert "$\\frac{1}$" in seen.text


def test_a_long_name_is_shortened_in_a_figure() -> None:
    """Characters that cannot be printed are replaced."""
    assert printable_name("x" * 100) == "x" * 27 + "\N{HORIZONTAL ELLIPSIS}"
    assert printable_name("a\nb") == "a\N{REPLACEMENT CHARACTER}b"


# Side effects


def test_no_partial_file_is_left(tmp_path: Path) -> None:
    """A target that cannot be replaced is an error, and there is no other file."""
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write_report(tmp_path / "report.html", bare())
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_drawing_does_not_change_matplotlib() -> None:
    """Neither its settings nor pyplot's list of figures changes."""
    code = (
        "import matplotlib; before = dict(matplotlib.rcParams);"
        "from ml.reports.drawing import draw_picture; draw_picture('a', 't', 'c', lambda figure: figure.add_subplot());"
        "assert dict(matplotlib.rcParams) == before; from matplotlib import pyplot; assert not pyplot.get_fignums()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_importing_the_package_imports_no_library() -> None:
    """matplotlib, jinja2, scikit-learn and Keras are imported when a report is written."""
    code = "import sys, ml.reports; assert not {'matplotlib', 'jinja2', 'sklearn', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(("library", "what"), [("jinja2", "Writing a report"), ("matplotlib", "Drawing a report")])
def test_a_missing_library_is_an_error_with_the_remedy(
    library: str, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message names the extra to install."""
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"{what}.*signalml\[train\]"):
        write_report(tmp_path / "report.html", bare(groups=grouped()))
    assert list(tmp_path.iterdir()) == []


def test_a_picture_has_a_description() -> None:
    """Title and caption are the text for screen readers, and quotes in them are escaped."""
    drawn = draw_picture("name", 'A "title"', "How to read it; n = 3.", empty_axes)
    label = Page(drawn.svg).elements[0][1]["aria-label"]
    assert label == 'A "title". How to read it; n\u00a0=\u00a03.'


def test_the_reference_channel_has_a_section(tmp_path: Path) -> None:
    """With the sentence, and a figure before and after for each example; without one where it was not asked for."""
    centres_hz = np.geomspace(60, 7800, 32)
    examples = tuple(
        HallExample(title, f"{HOSTILE}.wav: score 0.4", np.full(32, 4.0), np.full(32, -1.0))
        for title in ("normal", "abnormal")
    )
    sentence = "The reference channel 1 explains 79 %: it is used."
    shown = Page(written(tmp_path / "report.html", bare(reference=ReferenceFacts(sentence, centres_hz, examples))))
    assert "reference" in shown.attributes("id")
    assert {"hall-1", "hall-2"} <= set(shown.attributes("id"))
    assert sentence in shown.text
    assert "main channel (RMS 4.0 dB)" in shown.text
    assert "without the reference channel (RMS 1.0 dB)" in shown.text
    unused = Page(written(tmp_path / "report.html", bare(reference=ReferenceFacts(sentence, centres_hz))))
    assert sentence in unused.text
    assert "hall-1" not in unused.attributes("id")
    assert "reference" not in Page(written(tmp_path / "report.html", bare())).attributes("id")
