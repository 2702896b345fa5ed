"""The console page's display of an answer: its own script, run by Node with a small stand-in for a browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "api" / "console" / "index.html"
BROWSER = """
const made = name => ({
  name, style: {}, children: [], textContent: "",
  append(...more) { this.children.push(...more); }, replaceChildren(...all) { this.children = all; },
  insertRow() { return added(this, "tr"); }, insertCell() { return added(this, "td"); },
});
const added = (to, name) => { const one = made(name); to.append(one); return one; };
const known = {}, byId = id => known[id] ??= made(id);
globalThis.document = { createElement: made, getElementById: byId };
globalThis.fetch = async () => ({ ok: false });
const texts = part => [part.textContent, ...part.children.flatMap(texts)].filter(Boolean);
"""
WINDOW = {"start_s": 0.0, "end_s": 10.0, "score": 0.2, "anomaly": False, "label": "normal"}
ANSWER: dict[str, Any] = {
    "verdict": "normal",
    "message": "Component OK",
    "score": 0.2,
    "threshold": 0.5,
    "classes": [{"name": "normal", "message": "Sounds healthy", "anomalous": False, "probability": 0.8}],
    "timeline": [WINDOW, WINDOW],
    "novelty": None,
    "unusable": None,
    "quality": {"duration_s": 20.0, "channels": 1, "sample_rate_hz": 16_000, "level_dbfs": None},
    "model": {"version": "fan-1", "note": None},
}
UNUSABLE = {"verdict": "unusable", "message": "Not judged: it is silent.", "unusable": {"why": "silent", "detail": "-"}}


def shown(answer: dict[str, Any]) -> list[str]:
    """The texts that the page shows of an answer, from top to bottom."""
    if (node := shutil.which("node")) is None:
        pytest.skip("the page's script is run by Node, which is not installed")
    (script,) = re.findall(r"<script>(.*?)</script>", PAGE.read_text(), re.S)
    program = f"{BROWSER}{script}\nshow({json.dumps(answer)});\nconsole.log(JSON.stringify(texts(answer)));"
    done = subprocess.run([node, "-"], input=program, capture_output=True, text=True, check=True)
    texts: list[str] = json.loads(done.stdout)
    return texts


def test_a_verdict_is_shown_with_its_facts() -> None:
    """The page shows classes, a timeline if there is more than one window, score, threshold and recording."""
    facts = "score 0.200, anomalous above 0.500 · 20.0 s, 1 channel(s) at 16000 Hz, silence · fan-1"
    assert shown(ANSWER) == ["Component OK", "Sounds healthy", "0.800", "Timeline", facts]


def test_the_note_of_a_demonstration_model_is_shown() -> None:
    """Below the verdict, before the facts."""
    answer = ANSWER | {"model": {"version": "demo-fans-1", "note": "This is a demonstration model."}}
    assert shown(answer)[:2] == ["Component OK", "This is a demonstration model."]


def test_an_unusable_recording_is_shown_without_a_score() -> None:
    """The page shows the reason and the recording."""
    facts = "20.0 s, 1 channel(s) at 16000 Hz, silence · fan-1"
    assert shown(ANSWER | UNUSABLE) == ["Not judged: it is silent.", facts]


def test_the_part_of_the_hall_is_shown() -> None:
    """A sentence above the bands, the part of each band, and the state of the reference channel."""
    bands = [
        {"low_hz": 413.0, "high_hz": 851.0, "db": 6.2, "sigma": 2.1, "share": 0.6, "hall_db": 4.1},
        {"low_hz": 0.0, "high_hz": 420.0, "db": -1.0, "sigma": 0.4, "share": 0.4, "hall_db": None},
    ]
    sentence = "6.2 dB louder at 413 to 851 Hz; 4.1 dB of it are in the hall too and do not count."
    novelty = {"times": 1.2, "p_value": 0.5, "engine": "discriminant", "compared_with": "fan", "machine_known": True}
    answer = ANSWER | {
        "novelty": novelty,
        "reasons": {"bands": bands, "level_change_db": None, "nearest": [], "in_the_hall": sentence},
        "quality": ANSWER["quality"] | {"reference": "disturbed"},
    }
    texts = shown(answer)
    assert sentence in texts
    assert "+6.2 dB (hall +4.1 dB), 2.1 \N{GREEK SMALL LETTER SIGMA}" in texts
    assert "-1.0 dB, 0.4 \N{GREEK SMALL LETTER SIGMA}" in texts
    assert "silence, reference channel disturbed · fan-1" in texts[-1]
    without = shown(answer | {"reasons": {"bands": bands, "in_the_hall": None}, "quality": ANSWER["quality"]})
    assert sentence not in without
    assert "reference channel" not in without[-1]
