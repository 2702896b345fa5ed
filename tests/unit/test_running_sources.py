"""Sources of a listener: one that cannot start harms no other."""

from pathlib import Path
from typing import cast

import pytest

from listener.config.source_types import PipeSource, Schedule, SourceEntry
from listener.judging.judge import Judge
from listener.judging.models import Models
from listener.options import ListenerOptions
from listener.sound import SoundReceiver, SourceReader
from listener.sources import sources as module
from listener.sources.schedule import RunningSchedule
from listener.sources.sources import RunningSources, SourceEvents
from ml.errors import MissingExtra


class Idle:
    """Reader without sound, which counts its starts."""

    started = 0

    def __init__(self) -> None:
        self.stopped = False

    def run(self, receiver: SoundReceiver) -> None:
        """Return at once."""
        Idle.started += 1
        receiver.report_state("listening")
        while not self.stopped:
            module.time.sleep(0.01)

    def stop(self) -> None:
        """End."""
        self.stopped = True


class Nothing:
    """Judge, models and events that do nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


def test_a_source_that_cannot_start_harms_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown with its cause, the others start once, and it is started when it can be."""
    missing = [True]

    def schedule(wanted: Schedule) -> RunningSchedule:
        if missing[0] and wanted.hours:
            raise MissingExtra("A schedule by MQTT", "live")
        return RunningSchedule(wanted)

    def make(_entry: SourceEntry, _options: ListenerOptions) -> SourceReader:
        return Idle()

    monkeypatch.setattr(module, "RunningSchedule", schedule)
    nothing = Nothing()
    sources = RunningSources(
        ListenerOptions(tmp_path),
        cast(Judge, nothing),
        cast(Models, nothing),
        cast(SourceEvents, nothing),
        make,
    )
    bad = PipeSource(name="b", machine_id="fan-2", path="/x", schedule=Schedule(hours=("06:00-22:00",)))
    wanted = {name: PipeSource(name=name, machine_id="fan-1", path="/x") for name in ("a", "c")} | {"b": bad}
    Idle.started = 0
    sources.update(dict(sorted(wanted.items())))
    sources.update(dict(sorted(wanted.items())))
    try:
        states = {each.name: each for each in sources.statuses()}
        assert states["b"].state == "failed"
        assert "signalml[live]" in states["b"].cause
        assert sources.get("a") is not None
        assert sources.get("c") is not None
        missing[0] = False
        sources.update(dict(sorted(wanted.items())))
        assert sources.get("b") is not None
    finally:
        sources.stop()
    assert Idle.started == 3
