"""Judging of one source: clips to the bit, gaps, schedules, models, the machine's record, a CPU that is too slow."""

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from listener.config.source_types import FolderSource, PipeSource, Schedule
from listener.metrics import serve_metrics
from listener.sound import SoundBlock
from listener.status import ListenerStatus, SinkStatus, SourceStatus
from ml.errors import NotAudio
from ml.machines.ledger import Ledger
from ml.machines.recording_time import RecordingTime
from ml.models.registry import Registry
from ml.models.thresholds import ThresholdRequest
from testing.servers import free_port, wait_until
from tests import sounds
from tests.unit import detectors, listening
from tests.unit.listening import RATE_HZ, Fed, faulty, fed, healthy

T0 = 1_800_000_000.0


@pytest.fixture
def running(detector_home: Path) -> Iterator[list[Fed]]:
    """Sources that are stopped after the test."""
    made: list[Fed] = []
    yield made
    for each in made:
        each.source.stop()
        each.judge.stop()
        each.record.close()


@pytest.fixture
def detector_home(tmp_path: Path) -> Path:
    """A home with a detector of the fan."""
    listening.make_home(tmp_path / "home")
    return tmp_path / "home"


def wav_of(samples: np.ndarray) -> bytes:
    """The same samples as a WAV file."""
    return sounds.wav(sounds.encode(samples.astype(np.float64), "pcm16"), channels=samples.shape[1], rate_hz=RATE_HZ)


def test_a_clip_has_exactly_the_verdict_of_a_file(detector_home: Path, running: list[Fed]) -> None:
    """PCM in blocks of any size gives the verdict of a WAV file of the same samples, to the last digit."""
    source = fed(detector_home, hop_s=2.0)
    running.append(source)
    sound = np.concatenate([healthy(6.0), faulty(5.0)])
    source.play(sound, T0, block_s=0.137)
    predictor = Registry(detector_home).load_predictor("champion")
    assert [clip.began - T0 for clip in source.clips] == pytest.approx([0, 2, 4, 6, 8])
    for clip in source.clips:
        start = round((clip.began - T0) * RATE_HZ)
        file = wav_of(sound[start : start + 3 * RATE_HZ])
        assert clip.verdict == predictor.predict(predictor.decode(file), "fan-3", explain=True)
    assert [clip.is_anomalous for clip in source.clips] == [False, False, True, True, True]


def test_no_clip_crosses_a_gap(detector_home: Path, running: list[Fed]) -> None:
    """After a gap the next clip begins with the first sample that follows; a clock that is set is no gap."""
    source = fed(detector_home)
    running.append(source)
    source.play(healthy(4.0), T0)
    source.source.report_gap(5.0, "a test")
    source.play(healthy(4.0), T0 + 9.0)
    source.play(healthy(4.0), T0 + 3600.0)
    assert [clip.began - T0 for clip in source.clips] == pytest.approx([0, 9, 12])
    status = source.source.status()
    assert (status.gaps, status.gap_seconds, status.clips_judged) == (1, 5.0, 3)


def test_verdicts_are_in_the_record_and_raise_the_alarm(detector_home: Path, running: list[Fed]) -> None:
    """The machine's alarm after each clip is that of its record: raised by 3 of 5, cleared by 1 of 5."""
    source = fed(detector_home)
    running.append(source)
    source.play(np.concatenate([healthy(9.0), faulty(12.0), healthy(18.0)]), T0)
    states = [clip.machine_state for clip in source.clips]
    assert states == ["normal"] * 5 + ["alarm"] * 5 + ["normal"] * 3
    with Ledger(detector_home) as ledger:
        health = ledger.health("fan-3", 50)
    assert len(health.latest) == 13
    assert health.latest[-1].recorded_at.startswith("2027-01-15T08:00:00.000")
    assert [alarm.cleared_at is not None for alarm in health.alarms] == [True]
    assert source.source.status().machine_state == "normal"


def test_a_clock_that_is_set_back_does_not_change_the_order(detector_home: Path, running: list[Fed]) -> None:
    """Faulty clips an hour before the healthy ones, by the clock, raise the alarm at once."""
    source = fed(detector_home)
    running.append(source)
    source.play(healthy(15.0), T0)
    source.play(faulty(9.0), T0 - 3600.0)
    assert source.clips[-1].machine_state == "alarm"


def test_a_record_that_cannot_be_written_stops_nothing(detector_home: Path, running: list[Fed]) -> None:
    """Without the record the alarm comes from memory; the verdicts are recorded when it can be written again."""
    machines = detector_home / "machines"
    machines.write_text("no folder")
    source = fed(detector_home)
    running.append(source)
    source.play(faulty(12.0), T0)
    assert [clip.machine_state for clip in source.clips] == ["normal", "normal", "alarm", "alarm"]
    assert source.record.waiting == 4
    machines.unlink()
    source.play(faulty(3.0), T0 + 12.0)
    assert source.record.waiting == 0
    with Ledger(detector_home) as ledger:
        assert len(ledger.health("fan-3", 50).latest) == 5
        assert ledger.state("fan-3") == "alarm"


def test_quiet_clips_are_not_judged(detector_home: Path, running: list[Fed]) -> None:
    """With a level in its schedule, a source waits while the machine is quiet, and states why."""
    source = fed(detector_home, schedule=Schedule(min_level_dbfs=-50.0))
    running.append(source)
    source.source.report_state("listening")
    source.play(healthy(3.0) / 1024, T0)
    status = source.source.status()
    assert (status.state, status.clips_judged) == ("waiting", 0)
    assert "-50 dBFS" in status.cause
    source.source.tick()
    assert source.lost[0][0] == "hall"
    source.play(healthy(3.0), T0 + 3.0)
    status = source.source.status()
    assert (status.state, status.clips_judged, status.cause) == ("listening", 1, "")


def test_a_source_waits_for_its_model(tmp_path: Path, running: list[Fed]) -> None:
    """Without a model the state is ``no_model``, with a sentence; with the first champion, clips are judged."""
    source = fed(tmp_path)
    running.append(source)
    source.source.report_state("listening")
    source.play(healthy(3.0), T0)
    source.source.tick()
    status = source.source.status()
    assert (status.state, status.clips_judged) == ("no_model", 0)
    assert "signalml demo" in status.cause
    listening.make_home(tmp_path)
    source.models.refresh()
    source.source.tick()
    source.play(healthy(3.0), T0 + 3.0)
    assert (source.source.status().state, len(source.clips)) == ("listening", 1)


def test_a_swap_of_the_model_is_followed(detector_home: Path, running: list[Fed]) -> None:
    """After a moved threshold and after a promotion, the next clips are judged with the new values; a model that is
    named by its version stays."""
    source = fed(detector_home)
    running.append(source)
    registry = Registry(detector_home)
    first = registry.resolve("champion")
    named = source.add(PipeSource(name="named", machine_id="fan-4", clip_s=3.0, model=first))
    registry.set_threshold("champion", ThresholdRequest(threshold=0.5))
    second = detectors.add(registry, name="other", decision=listening.DECISION)
    source.models.refresh()
    source.play(healthy(3.0), T0)
    assert source.clips[-1].verdict.threshold == 0.5
    registry.promote(second)
    source.models.refresh()
    source.play(healthy(3.0), T0 + 3.0)
    named.receive(SoundBlock(healthy(3.0), RATE_HZ, T0))
    source.wait_for_judge()
    assert [clip.verdict.version for clip in source.clips] == [first, second, first]


def test_a_computer_that_is_too_slow_skips_evenly(detector_home: Path, running: list[Fed]) -> None:
    """While nothing is judged, each source keeps its newest clip; the others are counted as skipped."""
    source = fed(detector_home, start=False)
    running.append(source)
    others = [source.add(PipeSource(name=f"s{i}", machine_id=f"m{i}", clip_s=3.0)) for i in range(4)]
    for second in range(12):
        for each in (source.source, *others):
            each.receive(SoundBlock(healthy(1.0), RATE_HZ, T0 + second))
    source.judge.start()
    source.wait_for_judge()
    assert {each.status().clips_skipped for each in (source.source, *others)} == {3}
    assert [clip.began - T0 for clip in source.clips] == pytest.approx([9.0] * 5)


def test_recordings_wait_for_their_verdicts(detector_home: Path, running: list[Fed]) -> None:
    """A recording of a folder is judged whole and counts once; one that cannot be read raises its error."""
    source = fed(detector_home)
    running.append(source)
    folder = source.add(FolderSource(name="folder", machine_id="fan-5", path="/x"))  # type: ignore[arg-type]
    content = wav_of(faulty(4.0))
    at = RecordingTime("2026-11-28T10:00:00.000+00:00", "file")
    verdicts = [folder.judge_recording(Path("a.wav"), content, at) for _ in range(2)]
    predictor = Registry(detector_home).load_predictor("champion")
    assert verdicts == [predictor.predict(predictor.decode(content), "fan-5", explain=True)] * 2
    assert len(source.clips) == 1
    assert (source.clips[0].recording, source.clips[0].ended - source.clips[0].began) == (content, 4.0)
    with pytest.raises(NotAudio):
        folder.judge_recording(Path("b.wav"), b"no sound", None)
    assert folder.status().recordings_refused == 1
    with Ledger(detector_home) as ledger:
        assert [each.repeats for each in ledger.health("fan-5", 9).latest] == [1]


def test_a_recording_that_waits_ends_with_the_listener(detector_home: Path, running: list[Fed]) -> None:
    """A reader that waits for a verdict gets None when the judge stops."""
    source = fed(detector_home, start=False)
    folder = source.add(FolderSource(name="folder", machine_id="fan-5", path="/x"))  # type: ignore[arg-type]
    got: list[object] = []
    content = wav_of(healthy(4.0))
    thread = threading.Thread(target=lambda: got.append(folder.judge_recording(Path("a.wav"), content, None)))
    thread.start()
    wait_until(lambda: not source.judge.is_idle)
    source.judge.start()
    source.judge.stop()
    thread.join(5)
    assert len(got) == 1


def test_a_model_that_cannot_use_the_sound_is_named(detector_home: Path, running: list[Fed]) -> None:
    """Sound that no model can judge, such as samples that are no numbers, is a state with its cause."""
    source = fed(detector_home)
    running.append(source)
    source.source.report_state("listening")
    broken = healthy(3.0).copy()
    broken[100] = np.nan
    source.play(broken, T0)
    status = source.source.status()
    assert status.state == "failed"
    assert "NaN" in status.cause
    source.play(healthy(3.0), T0 + 3.0)
    assert source.source.status().state == "listening"


def test_a_model_that_does_not_exist_is_named(detector_home: Path, running: list[Fed]) -> None:
    """A source whose model was never trained states that; when the model arrives, its newest version judges."""
    source = fed(detector_home, model="pumps")
    running.append(source)
    source.source.report_state("listening")
    source.source.tick()
    status = source.source.status()
    assert (status.state, "'pumps'" in status.cause) == ("no_model", True)
    version = detectors.add(Registry(detector_home), name="pumps", decision=listening.DECISION)
    source.models.refresh()
    source.source.tick()
    source.play(healthy(3.0), T0)
    assert source.source.status().state == "listening"
    assert source.clips[-1].verdict.version == version


def test_metrics_on_a_port() -> None:
    """The state of the sources can be read by Prometheus, on this computer only."""
    status = ListenerStatus("2026-11-29T10:00:00.000+00:00", 1, [SourceStatus("hall", "pipe", "fan-3", clips_judged=7)])
    status.sinks.append(SinkStatus("hook", "webhook", waiting=3))
    port = free_port()
    stop = serve_metrics(port, lambda: status)
    try:
        shown = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    finally:
        stop()
    assert 'signalml_clips_judged_total{source="hall"} 7.0' in shown
    assert 'signalml_source_state{source="hall",state="starting"} 1.0' in shown
    assert 'signalml_source_state{source="hall",state="stalled"} 0.0' in shown
    assert 'signalml_outbox_waiting{sink="hook"} 3.0' in shown
