"""Clips of events: what they hold, when they are written, and what happens without sound or room."""

import io
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from listener.events.clip_files import clip_file, delete_orphans, encode_flac, read_recording, spectrogram_file
from listener.events.clips import ClipWriter
from listener.events.event import Event
from listener.events.event_keeper import EventKeeper
from listener.events.store import EventStore, NewAlert
from listener.options import ListenerOptions
from listener.sound import SoundBlock
from ml.errors import ClipNotFound
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from tests.disks import fill, small_disk
from tests.unit.judged_clips import FOLDER, RATE_HZ, T0, judged, no_alerts, tone, with_predictor

ANOMALOUS, NORMAL = 0.8, 0.2
PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def predictor(original_home: Path) -> Predictor:
    """A classifier."""
    return Registry(original_home).load_predictor("champion")


class Hall:
    """A listener of one machine whose ring buffer holds what was recorded in the last 90 s, without gaps."""

    def __init__(self, home: Path, predictor: Predictor, **options: float) -> None:
        self.home, self.predictor = home, predictor
        given = {"before_s": 10.0, "longest_clip_s": 60.0, "clips_min_free_bytes": 0}
        self.options = ListenerOptions(home, **(given | options))  # type: ignore[arg-type]
        self.store = EventStore(home, create=True)
        self.alerts: list[str] = []
        self.writer = ClipWriter(self.options, self.store, self._route)
        self.keeper = EventKeeper(self.options, self.store, no_alerts, self.writer)
        self.gap_at, self.now, self.channels = T0 - 100, T0, 1

    def _route(self, event: Event, change: str) -> list[NewAlert]:
        self.alerts.append(f"{change} {event.state}")
        return []

    def judge(self, number: int, score: float, state: str) -> None:
        """Judge a clip of the ring buffer."""
        clip = judged(number, score, state, sound=self.sound)  # type: ignore[arg-type]
        self.now = clip.ended
        self.keeper.judged(with_predictor(clip, self.predictor))

    def sound(self, began: float, ended: float) -> SoundBlock | None:
        """The sound between two times, as the ring buffer of a source returns it."""
        first = max(began, self.gap_at, self.now - 90)
        last = min(ended, self.now)
        return tone(first, last, self.channels) if last > first else None

    def raise_alarm(self) -> None:
        """Judge three anomalous clips, the last of which raises the alarm."""
        for number in range(3):
            self.judge(number, ANOMALOUS, "alarm" if number == 2 else "normal")

    @property
    def event(self) -> Event:
        """The last event."""
        return self.store.page().events[0]

    def wait(self, condition: Callable[[Event], object]) -> Event:
        """Wait until the last event fulfils a condition."""
        end = time.monotonic() + PATIENCE_S
        while not condition(self.event):
            assert time.monotonic() < end, self.event
            time.sleep(0.01)
        return self.event


@pytest.fixture
def hall(tmp_path: Path, predictor: Predictor) -> Iterator[Hall]:
    """A listener of one machine."""
    made = Hall(tmp_path, predictor)
    yield made
    made.writer.stop()


def samples_of(hall: Hall, event: Event) -> np.ndarray:
    """The samples of a clip, full scale 1."""
    samples: np.ndarray
    samples, rate_hz = soundfile.read(clip_file(hall.home, event), always_2d=True, dtype="float32")
    assert rate_hz == RATE_HZ
    return samples


def test_a_clip_begins_before_its_event_and_ends_with_it(hall: Hall) -> None:
    """The first version is written at once, the last one at the end; each sample is that of the source."""
    hall.channels = 2
    hall.raise_alarm()
    first = hall.wait(lambda event: event.clip)
    assert first.clip is not None
    assert first.clip.duration_s == 40.0
    hall.judge(3, NORMAL, "normal")
    event = hall.wait(lambda event: event.clip != first.clip)
    assert event.clip is not None
    assert (event.clip.began, event.clip.duration_s) == ("2026-09-21T14:13:10.000+00:00", 50.0)
    np.testing.assert_array_equal(samples_of(hall, event), tone(T0 - 10, T0 + 40, 2).samples)
    assert event.missing_clip is None
    assert hall.alerts == ["clip active", "clip ended"]
    assert hall.writer.clip_bytes == event.clip.size_bytes
    assert event.clip.size_bytes == sum(file(hall.home, event).stat().st_size for file in (clip_file, spectrogram_file))


def test_a_long_clip_has_the_longest_length(hall: Hall) -> None:
    """It is written once that much is there, although the event goes on."""
    hall.raise_alarm()
    for number in range(3, 6):
        hall.judge(number, ANOMALOUS, "alarm")
    event = hall.wait(lambda event: event.clip and event.clip.duration_s == 60)
    assert event.state == "active"
    np.testing.assert_array_equal(samples_of(hall, event), tone(T0 - 10, T0 + 50).samples)


def test_a_clip_has_no_gap(hall: Hall) -> None:
    """It is the part after the gap or, if the gap comes later, the version before."""
    hall.gap_at = T0 + 5
    hall.raise_alarm()
    event = hall.wait(lambda event: event.clip)
    assert event.clip is not None
    assert (event.clip.began, event.clip.duration_s) == ("2026-09-21T14:13:25.000+00:00", 25.0)
    hall.gap_at = T0 + 35
    hall.judge(3, NORMAL, "normal")
    hall.writer.stop()
    assert hall.event.clip == event.clip


def test_an_event_without_sound_has_no_clip(hall: Hall) -> None:
    """It names the reason, and so does the error of its file."""
    hall.gap_at = T0 + 1000
    hall.raise_alarm()
    event = hall.wait(lambda event: event.missing_clip == "no_sound")
    with pytest.raises(ClipNotFound, match="no sound of it was recorded"):
        clip_file(hall.home, event)
    with pytest.raises(ClipNotFound):
        spectrogram_file(hall.home, event)
    assert hall.writer.dropped == 0


def test_clips_can_be_off(tmp_path: Path, predictor: Predictor) -> None:
    """With no bytes for clips, none is written and none is dropped."""
    hall = Hall(tmp_path, predictor, clips_max_bytes=0)
    hall.raise_alarm()
    hall.wait(lambda event: event.missing_clip == "off")
    hall.writer.stop()
    assert hall.writer.dropped == 0


def test_the_clip_of_recordings_is_the_most_anomalous_one(hall: Hall) -> None:
    """The recording itself, with all its channels; a long one is cut around its most anomalous clip."""
    for number, score in enumerate((0.7, 0.7, 0.8, 0.6, 0.9)):
        content = encode_flac(tone(T0 + 10 * number, T0 + 10 * number + (100 if number == 4 else 10), 2))
        state = "alarm" if number > 1 else "normal"
        clip = judged(number, score, state, FOLDER, recording=content)  # type: ignore[arg-type]
        worst = replace(clip.verdict.worst, start_s=30.0, end_s=40.0)
        clip = replace(clip, verdict=replace(clip.verdict, worst=worst))
        hall.keeper.judged(with_predictor(clip, hall.predictor))
        if number > 1:
            hall.wait(lambda event: event.clip)
    event = hall.wait(lambda event: event.clip and event.clip.duration_s == 60)
    np.testing.assert_array_equal(samples_of(hall, event), tone(T0 + 60, T0 + 120, 2).samples)
    assert event.clip is not None
    assert event.clip.began == "2026-09-21T14:14:20.000+00:00"


def test_the_picture_has_the_models_bands(hall: Hall) -> None:
    """One row for each mel band, the lowest at the bottom, and its ranges as texts."""
    hall.raise_alarm()
    event = hall.wait(lambda event: event.clip)
    with Image.open(spectrogram_file(hall.home, event)) as picture:
        levels = np.asarray(picture)
        bands = hall.predictor.extractor.spec.n_mels
        assert levels.shape[0] == bands
        assert 300 < levels.shape[1] <= 1000
        loudest = bands - 1 - int(levels.mean(axis=1).argmax())
        low, high = hall.predictor.extractor.band_edges_hz[[loudest, loudest + 2]]
        assert low < 0.1 * RATE_HZ / (2 * np.pi) < high
        assert picture.text["Seconds"] == "0 40.000"  # type: ignore[attr-defined]
        assert picture.text["Hertz"].split()[0] == "0"  # type: ignore[attr-defined]


def test_without_pillow_a_clip_has_no_picture(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra ``live`` is not installed: the sound is more than nothing."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    hall.raise_alarm()
    event = hall.wait(lambda event: event.clip)
    assert event.clip is not None
    assert event.clip.spectrogram is None
    assert clip_file(hall.home, event).is_file()
    with pytest.raises(ClipNotFound, match="has no spectrogram"):
        spectrogram_file(hall.home, event)


@pytest.mark.parametrize(
    ("samples", "bits"), [(np.array([[-1.0], [0.5], [32767 / 32768]]), 16), (np.array([[1 / 3]]), 24)]
)
def test_flac_keeps_each_sample(samples: np.ndarray, bits: int) -> None:
    """Of 16 bits to the bit, and others with 24 bits; the file has the time of its first sample."""
    samples = np.tile(samples, (RATE_HZ, 1))
    flac = encode_flac(SoundBlock(samples.astype(np.float32), RATE_HZ, T0))
    info = soundfile.info(io.BytesIO(flac))
    assert info.subtype == f"PCM_{bits}"
    np.testing.assert_allclose(read_recording(flac, T0).samples, samples, atol=0 if bits == 16 else 2**-24)
    with soundfile.SoundFile(io.BytesIO(flac)) as file:
        assert file.date == "2026-09-21T14:13:20.000+00:00"


def test_a_full_disk_costs_clips_and_heals(tmp_path: Path, predictor: Predictor) -> None:
    """Events go on and clips are dropped and counted; with room again, there are clips again."""
    with small_disk(tmp_path / "home", "24m") as home:
        hall = Hall(home, predictor, clips_min_free_bytes=8 * 2**20)
        ballast = fill(home, left_kb=6 * 1024)
        hall.raise_alarm()
        hall.wait(lambda event: event.missing_clip == "disk_full")
        hall.judge(3, NORMAL, "normal")
        hall.wait(lambda _: hall.writer.dropped == 1)
        assert hall.event.state == "ended"
        ballast.unlink()
        hall.raise_alarm()
        hall.wait(lambda event: event.clip)
        hall.writer.stop()
        assert hall.writer.dropped == 1
        hall.store.close()


def test_events_wait_for_room_on_a_disk_without_any(tmp_path: Path, predictor: Predictor) -> None:
    """Not even the events can be written: they wait, and nothing of them is lost."""
    with small_disk(tmp_path / "home", "4m") as home:
        hall = Hall(home, predictor, clips_min_free_bytes=2**20)
        ballast = fill(home)
        for number in range(40):
            hall.raise_alarm()
            hall.judge(3 + number, NORMAL, "normal")
        assert hall.keeper.unsaved
        ballast.unlink()
        time.sleep(1.1)
        hall.keeper.tick()
        assert hall.keeper.unsaved == 0
        events = hall.store.page(most=100).events
        assert [event.state for event in events] == ["ended"] * 40
        hall.writer.stop()
        assert {event.missing_clip for event in hall.store.page(most=100).events} <= {"disk_full", None}
        hall.store.close()


def test_the_event_of_a_killed_listener_names_its_missing_clip(tmp_path: Path, predictor: Predictor) -> None:
    """Its clip was pending: nothing will write it any more."""
    hall = Hall(tmp_path, predictor)
    hall.writer.stop()
    hall.raise_alarm()
    assert hall.event.missing_clip == "pending"
    again = Hall(tmp_path, predictor)
    again.keeper.tick()
    again.wait(lambda event: event.missing_clip == "no_sound")
    again.writer.stop()
    assert again.event.state == "interrupted"


def test_files_without_an_event_are_deleted(hall: Hall) -> None:
    """Those of an earlier version and half written ones, but no young file: its event may name it soon."""
    hall.raise_alarm()
    hall.wait(lambda event: event.clip)
    hall.judge(3, NORMAL, "normal")
    hall.writer.stop()
    event, folder = hall.event, hall.options.clips_folder
    assert event.clip is not None
    named = {event.clip.file, event.clip.spectrogram or ""}
    (folder / ".half.flac.0123").write_bytes(b"fLaC")
    assert len(list(folder.iterdir())) == 5
    assert delete_orphans(hall.home, named) == 0
    assert delete_orphans(hall.home, named, older_s=0.0) == 3
    assert {file.name for file in folder.iterdir()} == named


def test_a_clip_is_no_path(hall: Hall) -> None:
    """An event of another device cannot name a file of another folder."""
    hall.raise_alarm()
    event = hall.wait(lambda event: event.clip)
    assert event.clip is not None
    (hall.home / "secret").write_bytes(b"x")
    with pytest.raises(ClipNotFound):
        clip_file(hall.home, replace(event, clip=replace(event.clip, file="../../secret")))


def test_in_a_storm_the_clips_that_wait_are_bounded(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """Further events have none, which they name, and which is counted."""
    monkeypatch.setattr("listener.events.clips.MOST_DUE", 2)
    monkeypatch.setattr("listener.events.clips.encode_flac", lambda sound: time.sleep(0.2) or encode_flac(sound))
    for _ in range(6):
        hall.raise_alarm()
        hall.judge(3, NORMAL, "normal")
    hall.writer.stop()
    missing = [event.missing_clip for event in hall.store.page().events]
    assert hall.writer.dropped == missing.count("no_sound")
    assert 2 <= missing.count(None) <= 3  # the first one may be under way
    assert len(missing) == missing.count("no_sound") + missing.count(None) == 6


def test_judging_does_not_wait_for_the_disk(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs delays the clip alone."""
    monkeypatch.setattr("listener.events.clips.write_clip", lambda *_: time.sleep(1.0))
    began = time.monotonic()
    hall.raise_alarm()
    for number in range(3, 9):
        hall.judge(number, ANOMALOUS, "alarm")
    assert time.monotonic() - began < 0.8
