"""Settings of live listening, and the options of a listener that they make."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from api.schemas.listening import SINK_EXAMPLES, SOURCE_EXAMPLES
from api.settings import Settings
from listener.config.files import sink_file, source_file
from listener.options import ListenerOptions
from ml.detectors.alarm_rule import KOfNRule

SET: dict[str, Any] = {
    "home": Path("/srv/signalml"),
    "device_name": "press-room",
    "alarm_raise": 2,
    "alarm_of": 3,
    "alarm_clear": 0,
    "machines_kept": 7,
    "judge_threads": 3,
    "poll_interval_s": 0.25,
    "clip_before_s": 4,
    "clip_longest_s": 30,
    "event_longest_s": 600,
    "clips_max_bytes": 1000,
    "clips_days": 3,
    "clips_min_free_bytes": 2000,
    "events_days": 5,
    "listener_metrics_port": 9100,
}
EXPECTED = ListenerOptions(
    home=Path("/srv/signalml"),
    device_name="press-room",
    alarm_rule=KOfNRule(2, 3, 0),
    machines_kept=7,
    judge_threads=3,
    poll_interval_s=0.25,
    before_s=4,
    longest_clip_s=30,
    longest_event_s=600,
    clips_max_bytes=1000,
    clips_days=3,
    clips_min_free_bytes=2000,
    events_days=5,
    metrics_port=9100,
)


def settings(**values: Any) -> Settings:
    """Settings without those of the environment."""
    return Settings(_env_file=None, **values)


def test_every_option_comes_from_a_setting() -> None:
    """All but the sources, which the command line gives."""
    made = settings(**SET).listener_options
    assert made == EXPECTED
    usual = ListenerOptions(home=Path("var").absolute(), device_name="")
    unset = [field.name for field in fields(made) if getattr(made, field.name) == getattr(usual, field.name)]
    assert unset == ["sources"]


def test_without_settings_the_options_have_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number has one default; the device has the name of the computer."""
    for name in SET:
        monkeypatch.delenv(f"SIGNALML_{name.upper()}", raising=False)
    made = settings(home=Path("/srv/signalml")).listener_options
    assert made == ListenerOptions(home=Path("/srv/signalml"), device_name="")


def test_the_folders_for_sources_are_the_home_and_those_of_the_setting() -> None:
    """Separated by commas; empty parts do not count."""
    made = settings(home=Path("/srv/signalml"), listen_folders=" /mnt/nas , ,/mnt/usb")
    assert made.source_folders == (Path("/srv/signalml"), Path("/mnt/nas"), Path("/mnt/usb"))


def test_the_examples_of_the_schema_can_be_used(tmp_path: Path) -> None:
    """One of each kind."""
    for example in SOURCE_EXAMPLES.values():
        source_file(tmp_path).check_json(example["value"])
    for example in SINK_EXAMPLES.values():
        sink_file(tmp_path).check_json(example["value"])
