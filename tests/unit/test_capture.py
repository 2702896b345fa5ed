"""Capture of sound: raw samples, buffers, programs that fail in every way, named pipes, credentials, injections."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from pydantic import ValidationError

from listener.capture.backoff import Backoff
from listener.capture.causes import Credentials, Messages
from listener.capture.connection import Limits
from listener.capture.device import device_command
from listener.capture.devices import list_devices
from listener.capture.ffmpeg import find_ffmpeg, stream_command
from listener.capture.input import Input
from listener.capture.pcm import AU_HEADER, PcmDecoder, PcmFormat
from listener.capture.pcm_reader import PcmReader
from listener.capture.pipe import pipe_reader
from listener.capture.program import Command, Program
from listener.capture.sound_buffer import TOO_SLOW, Gap, SoundBuffer, StateChange
from listener.capture.timeline import Tolerance
from listener.config.source_types import DeviceSource, PipeSource, StreamSource
from listener.sound import SoundBlock
from ml.errors import MalformedAudio, ProgramMissing
from testing.servers import wait_until
from tests.capture import Receiver, running

RATE = 8_000
MONO = PcmFormat(RATE, 1, "<i2")
LIMITS = Limits(start_s=1.5, stall_s=0.6, tolerance=Tolerance(silent_s=0.5))
WITHIN_S = 20.0
# A program that writes samples in real time: noise, or one value.
PROGRAM = """
import os, sys, time, random
kind, seconds, rate = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
start = time.monotonic()
for number in range(1, int(seconds * 20) + 1):
    frames = rate // 20
    os.write(1, bytes(2 * frames) if kind == "zeros" else random.randbytes(2 * frames))
    time.sleep(max(0, start + number / 20 - time.monotonic()))
"""


def program(*arguments: str, after: str = "") -> Command:
    """A command of Python with what it does after its sound."""
    return Command((sys.executable, "-I", "-c", PROGRAM + after, *arguments))


class Opened:
    """Opens the given commands one after the other, then the last one again and again."""

    def __init__(self, *commands: Command) -> None:
        self.commands = commands
        self.programs: list[Program] = []

    def __call__(self) -> Input:
        assert all(not psutil.pid_exists(each.pid) for each in self.programs), "two programs of one source"
        command = self.commands[min(len(self.programs), len(self.commands) - 1)]
        self.programs.append(Program(command))
        return self.programs[-1]


def group(leader: int) -> list[psutil.Process]:
    """The processes of a group that still run."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def reader_of(opened: Callable[[], Input], limits: Limits = LIMITS) -> PcmReader:
    """A reader of mono sound."""
    return PcmReader("hall", opened, MONO, None, limits)


# Samples


def test_frames_that_are_cut_anywhere_are_decoded_whole() -> None:
    """Bytes arrive one by one; the frames are the same."""
    data = np.arange(-30, 30, dtype="<i2").tobytes()
    whole = PcmDecoder(PcmFormat(RATE, 3, "<i2")).decode(data)
    decoder = PcmDecoder(PcmFormat(RATE, 3, "<i2"))
    parts = [decoder.decode(data[place : place + 1]) for place in range(len(data))]
    assert np.array_equal(np.concatenate(parts), whole)
    assert whole.shape == (20, 3)


@pytest.mark.parametrize(("dtype", "full_scale"), [("<i2", 2**15), ("<i4", 2**31), (">i2", 2**15), ("<f4", 1)])
def test_each_format_has_the_same_scale(dtype: str, full_scale: int) -> None:
    """Half of full scale is 0.5."""
    coded = np.array([[full_scale / 2, -full_scale / 4]]).astype(dtype)
    assert PcmDecoder(PcmFormat(RATE, 2, dtype)).decode(coded.tobytes()).tolist() == [[0.5, -0.25]]


def test_a_header_gives_rate_and_channels() -> None:
    """As ffmpeg writes it, byte by byte."""
    data = AU_HEADER.pack(b".snd", 32, 2**32 - 1, 3, 44_100, 2) + bytes(8) + np.array([[1, -2]], ">i2").tobytes()
    decoder = PcmDecoder(None)
    parts = [decoder.decode(data[place : place + 1]) for place in range(len(data))]
    assert decoder.format == (44_100, 2, ">i2")
    assert np.concatenate([part for part in parts if len(part)]).tolist() == [[1 / 2**15, -2 / 2**15]]


@pytest.mark.parametrize("header", [b"RIFF" + bytes(20), AU_HEADER.pack(b".snd", 32, 0, 3, 0, 2)])
def test_another_header_is_refused(header: bytes) -> None:
    """Not AU, or without a rate."""
    with pytest.raises(MalformedAudio, match="AU"):
        PcmDecoder(None).decode(header)


def test_one_channel_is_chosen() -> None:
    """Or the sentence names the channels that there are."""
    coded = np.array([[1, 2], [3, 4]], "<i2").tobytes()
    assert PcmDecoder(PcmFormat(RATE, 2, "<i2"), 1).decode(coded).ravel().tolist() == [2 / 2**15, 4 / 2**15]
    with pytest.raises(MalformedAudio, match="has 2 channels; channel 5"):
        PcmDecoder(PcmFormat(RATE, 2, "<i2"), 5).decode(coded)


# Buffer


def test_a_full_buffer_drops_the_oldest_sound_and_counts_it() -> None:
    """Ten seconds into a buffer of four: the newest four follow a gap of six, and no state is lost."""
    buffer = SoundBuffer(limit_s=4.0)
    buffer.put(StateChange("listening", ""))
    for number in range(10):
        buffer.put(SoundBlock(np.full((RATE, 1), number, np.float32), RATE, float(number)))
    found = [buffer.get(0) for _ in range(6)]
    assert found[:2] == [
        StateChange("listening", ""),
        Gap(6.0, TOO_SLOW),
    ]
    assert [block.at for block in found[2:] if isinstance(block, SoundBlock)] == [6.0, 7.0, 8.0, 9.0]
    assert buffer.dropped_seconds == 6.0
    assert buffer.get(0) is None


def test_waiting_times_grow_to_a_bound_and_differ() -> None:
    """They begin short, stay below five seconds, and begin again after a success."""
    backoffs = [Backoff() for _ in range(50)]
    first, *_, last = [[each.next_s() for each in backoffs] for _ in range(10)]
    assert 0.25 <= min(first) < max(first) <= 0.5
    assert 2.5 <= min(last) < max(last) <= 5.0
    assert len(set(last)) == 50
    backoffs[0].reset()
    assert backoffs[0].next_s() <= 0.5


# Programs


def test_sound_of_a_program_arrives() -> None:
    """Blocks follow one another to the sample, ten a second, and nothing is left after the end."""
    with running(reader_of(Opened(program("noise", "60", str(RATE))))) as receiver:
        receiver.wait_for("listening")
        wait_until(lambda: receiver.seconds > 1.5, WITHIN_S)
    steps = np.diff([block.at for block in receiver.blocks])
    lengths = [len(block.samples) / RATE for block in receiver.blocks]
    assert steps == pytest.approx(lengths[:-1], abs=0.05)
    assert max(lengths) < 0.5
    assert not receiver.gaps


@pytest.mark.parametrize(
    ("after", "state", "cause"),
    [
        ("sys.exit('no such microphone')", "failed", "ended with status 1: no such microphone"),
        ("os.kill(os.getpid(), 9)", "failed", "ended with signal 9"),
        ("os.kill(os.getpid(), 19)", "stalled", "no sound for 0.6 s"),
        ("time.sleep(600)", "stalled", "no sound for 0.6 s"),
        ("import signal; signal.signal(15, signal.SIG_IGN); signal.signal(1, signal.SIG_IGN); time.sleep(600)",
         "stalled", "no sound for 0.6 s"),
        ("os.fork() or os.fork(); time.sleep(600)", "stalled", "no sound for 0.6 s"),
        ("os.close(1); time.sleep(600)", "failed", "closed its output"),
    ],
)  # fmt: skip
def test_a_program_that_fails_is_started_again(after: str, state: str, cause: str) -> None:
    """However it fails: named with its cause, replaced, a gap before the next sound, and no process left."""
    opened = Opened(program("noise", "0.5", str(RATE), after=after), program("noise", "60", str(RATE)))
    with running(reader_of(opened)) as receiver:
        assert cause in receiver.wait_for(state)
        receiver.wait_for("listening", after=state)
        wait_until(lambda: receiver.gaps, WITHIN_S)
    assert len(receiver.gaps) == 1
    assert 0 < receiver.gaps[0][0] < WITHIN_S
    assert cause in receiver.gaps[0][1]
    wait_until(lambda: not [left for each in opened.programs for left in group(each.pid)], WITHIN_S)


def test_a_program_that_writes_nothing_is_named() -> None:
    """No byte within the limit: no data, and another attempt."""
    with running(reader_of(Opened(program("noise", "0", "1", after="time.sleep(600)")))) as receiver:
        assert receiver.wait_for("no_data") == "no sound in the first 1.5 s"
        wait_until(lambda: receiver.reader.starts > 1, WITHIN_S)


def test_only_zeros_are_silence_and_the_program_stays() -> None:
    """The zeros are not passed on; sound after them ends the silence with a gap."""
    again = [f"sys.argv[1:3] = {arguments}\nexec({PROGRAM!r})" for arguments in (["zeros", "2"], ["noise", "60"])]
    with running(reader_of(Opened(program("noise", "1", str(RATE), after="\n".join(again))))) as receiver:
        assert receiver.wait_for("silent") == "every sample has the value 0"
        receiver.wait_for("listening", after="silent")
        wait_until(lambda: receiver.gaps, WITHIN_S)
        assert receiver.reader.starts == 1
    assert receiver.gaps[0][0] == pytest.approx(2.0, abs=0.2)
    assert all(np.ptp(block.samples) > 0 for block in receiver.blocks)


def test_a_missing_program_is_named_and_awaited(tmp_path: Path) -> None:
    """It is started as soon as it is installed."""
    path = tmp_path / "recorder"
    with running(reader_of(lambda: Program(Command((str(path),))))) as receiver:
        assert receiver.wait_for("failed") == "recorder cannot be started: No such file or directory."
        path.write_text(f"#!/bin/sh\nexec {sys.executable} -I -c '{PROGRAM}' noise 60 {RATE}\n")
        path.chmod(0o755)
        receiver.wait_for("listening")


def test_a_flood_of_messages_is_bounded_and_holds_up_nothing() -> None:
    """Megabytes on stderr: sound goes on, and the cause has the last lines."""
    flood = "for n in range(3000): os.write(2, b'x' * 200 + b'\\n')\nsys.exit('the reason')"
    opened = Opened(program("noise", "0.1", str(RATE), after=flood))
    with running(reader_of(opened, LIMITS._replace(stall_s=10))) as receiver:
        cause = receiver.wait_for("failed")
    assert "the reason" in cause
    assert len(cause) < 1000


def test_a_refused_message_ends_the_program() -> None:
    """As when PulseAudio moves the sound to another microphone: another machine would be judged."""
    words = program(
        "noise", "0.5", str(RATE), after="os.write(2, b'Stream moved to device b.\\n'); time.sleep(600)"
    ).words
    moved = device_command(DeviceSource(name="a", machine_id="a", device="pulse:b")).refused
    with running(reader_of(Opened(Command(words, refused=moved)))) as receiver:
        assert receiver.wait_for("failed") == "Stream moved to device b."


def test_a_program_that_cannot_be_killed_has_no_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that hangs in a driver: it is named, and another one starts only after its end."""
    monkeypatch.setattr("listener.capture.pcm_reader.HANGING_WAIT_S", 0.2)
    hangs = threading.Event()

    class Hanging(Program):
        """A program that ends only when it may."""

        def close(self) -> bool:
            return not hangs.is_set() and super().close()

    opened: list[Program] = []

    def open_next() -> Input:
        hangs.set()
        opened.append(Hanging(program("noise", "0.3", str(RATE))))
        return opened[-1]

    with running(reader_of(open_next)) as receiver:
        wait_until(lambda: any("SIGKILL" in cause for _, cause in receiver.states), WITHIN_S)
        time.sleep(1)
        assert len(opened) == 1
        hangs.clear()
        wait_until(lambda: len(opened) == 2, WITHIN_S)
        hangs.clear()
    for each in opened:
        Program.close(each)


def test_a_receiver_that_blocks_costs_the_oldest_sound_only() -> None:
    """The capture goes on meanwhile, memory is bounded, and the loss is a gap that is counted."""
    opened = Opened(program("noise", "60", str(RATE)))
    reader = reader_of(opened)
    reader._buffer = SoundBuffer(limit_s=1.0)
    receiver = Receiver(reader)
    receiver.blocked.set()
    with running(reader, receiver):
        wait_until(lambda: reader.dropped_seconds > 0.5, WITHIN_S)
        receiver.blocked.clear()
        wait_until(lambda: receiver.gaps, WITHIN_S)
        assert opened.programs[0].has_ended is False
    assert receiver.gaps[0][0] == pytest.approx(reader.dropped_seconds, abs=0.11)
    assert "too slow" in receiver.gaps[0][1]


def test_sound_faster_than_real_time_waits_in_its_program() -> None:
    """A recording on a server is no storm: it is read on at about real time."""
    endless = Command(("sh", "-c", "exec cat /dev/urandom"))
    with running(reader_of(Opened(endless))) as receiver:
        wait_until(lambda: receiver.seconds > 30, WITHIN_S)
        time.sleep(1)
        assert receiver.seconds < 60


def test_a_listener_that_is_killed_leaves_no_program(tmp_path: Path) -> None:
    """SIGKILL of the listener, while its program is stopped and writes nothing."""
    script = (
        "import sys, threading\nfrom tests.unit.test_capture import *\nfrom tests.capture import Receiver\n"
        "opened = Opened(program('noise', '1', '8000', after='os.kill(os.getpid(), 19)'))\n"
        "reader = reader_of(opened, LIMITS._replace(stall_s=60))\n"
        "threading.Thread(target=reader.run, args=(Receiver(reader),)).start()\n"
        "while not opened.programs: time.sleep(0.01)\n"
        "print(opened.programs[0].pid, flush=True)\n"
    )
    with psutil.Popen([sys.executable, "-c", script], stdout=-1, env=os.environ | {"PYTHONPATH": "."}) as listener:
        child = psutil.Process(int(listener.stdout.readline()))
        wait_until(lambda: child.status() == psutil.STATUS_STOPPED, WITHIN_S)
        listener.send_signal(signal.SIGKILL)
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, WITHIN_S)


# Named pipes


@contextmanager
def writer(path: Path) -> Iterator[Callable[[float], None]]:
    """A writer of a named pipe: its function writes noise in real time."""
    with path.open("wb", buffering=0) as file:

        def write(seconds: float) -> None:
            for _ in range(round(seconds * 20)):
                file.write(os.urandom(2 * RATE // 20))
                time.sleep(0.05)

        yield write


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A named pipe."""
    os.mkfifo(tmp_path / "sound")
    return tmp_path / "sound"


def reader_of_pipe(path: Path, **limits: float) -> PcmReader:
    """A reader of a named pipe, with short limits."""
    reader = pipe_reader(PipeSource(name="hall", machine_id="fan-1", path=str(path), sample_rate_hz=RATE))
    reader._limits = reader._limits._replace(**{"start_s": 0.5, "stall_s": 0.5} | limits)
    return reader


def test_writers_of_a_pipe_may_come_and_go(fifo: Path) -> None:
    """Without a writer: no data. After it: stalled, and the next one is read, in whole frames."""
    with running(reader_of_pipe(fifo)) as receiver:
        assert receiver.wait_for("no_data").endswith("no program writes to the pipe")
        with writer(fifo) as write:
            write(0.5)
            with fifo.open("wb") as file:
                file.write(b"x")  # half a sample
        receiver.wait_for("listening")
        assert receiver.wait_for("stalled").endswith("no program writes to the pipe")
        with writer(fifo) as write:
            write(2.0)
        receiver.wait_for("listening", after="stalled")
    assert len(receiver.gaps) == 1


def test_a_pause_of_a_writer_does_not_close_the_pipe(fifo: Path) -> None:
    """A writer that pauses gets no SIGPIPE, and its sound goes on after a gap."""
    with running(reader_of_pipe(fifo)) as receiver, writer(fifo) as write:
        write(0.5)
        receiver.wait_for("stalled")
        write(2.5)
        receiver.wait_for("listening", after="stalled")
        wait_until(lambda: receiver.gaps, WITHIN_S)
    assert receiver.gaps[0][0] == pytest.approx(0.7, abs=0.6)


def test_a_pipe_that_is_made_anew_before_its_first_writer_is_found(fifo: Path) -> None:
    """A program that makes its pipe itself may start after the listener."""
    with running(reader_of_pipe(fifo)) as receiver:
        time.sleep(0.5)  # it has opened the first one
        fifo.unlink()
        os.mkfifo(fifo)
        with writer(fifo) as write:
            write(0.5)
        receiver.wait_for("listening")


def test_a_pipe_that_is_made_anew_is_found(fifo: Path) -> None:
    """The program that writes makes its pipe anew at each start."""
    with running(reader_of_pipe(fifo)) as receiver:
        with writer(fifo) as write:
            write(0.3)
        fifo.unlink()
        assert "No such file" in receiver.wait_for("failed")
        os.mkfifo(fifo)
        with writer(fifo) as write:
            write(0.5)
        receiver.wait_for("listening", after="failed")


def test_a_file_is_no_pipe(tmp_path: Path) -> None:
    """The sentence names what makes one."""
    (tmp_path / "sound").write_bytes(b"text")
    with running(reader_of_pipe(tmp_path / "sound")) as receiver:
        assert "mkfifo" in receiver.wait_for("failed")


def test_samples_that_are_no_numbers_are_left_out(fifo: Path) -> None:
    """Another format than the source's: a sentence, and a gap instead of noise."""
    source = PipeSource(name="hall", machine_id="a", path=str(fifo), sample_rate_hz=RATE, sample_format="f32le")
    with running(pipe_reader(source)) as receiver, fifo.open("wb", buffering=0) as file:
        file.write(np.full(800, np.nan, "<f4").tobytes())
        assert "finite" in receiver.wait_for("failed")
        file.write(np.random.default_rng(1).uniform(-1, 1, 800).astype("<f4").tobytes())
        receiver.wait_for("listening", after="failed")
    assert all(np.isfinite(block.samples).all() for block in receiver.blocks)


# Addresses and names

SECRET_URLS = {
    "rtsp://operator:pa55word@camera-7/audio?token=abcdef": ("pa55word", "abcdef"),
    "http://operator:p%40ss%3Aword@camera-7/live.m3u8?key=abcdef&user=operator": (
        "p%40ss%3Aword",
        "p@ss:word",
        "abcdef",
    ),
    "https://onlytoken@camera-7/a": ("onlytoken",),
    "srt://camera-7:9000?passphrase=verysecret1": ("verysecret1",),
    "rtsp://it's:o'clock@camera-7/": ("o'clock",),
}


@pytest.mark.parametrize("url", SECRET_URLS)
def test_credentials_are_no_argument_and_in_no_message(url: str) -> None:
    """Arguments are visible to all users of the computer; messages go to logs and answers."""
    command = stream_command(StreamSource(name="a", machine_id="a", url=url))
    message = f"Cannot open {url} ({' '.join(SECRET_URLS[url])}): 401; also {url!r}"
    shown = command.credentials.hide(message)
    assert not [secret for secret in SECRET_URLS[url] if any(secret in word for word in (*command.words, shown))]
    assert "camera-7" in shown


def test_credentials_in_messages_of_a_program_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the cause nor the log has them, even if the line arrives in two parts."""
    url = "rtsp://operator:pa55word@camera-7/a"
    text = f"os.write(2, b'cannot open {url[:20]}'); time.sleep(.1); os.write(2, b'{url[20:]}\\n'); sys.exit(1)"
    command = program("noise", "0", "1", after=text)._replace(credentials=Credentials(url))
    with caplog.at_level(logging.DEBUG), running(reader_of(Opened(command))) as receiver:
        cause = receiver.wait_for("failed")
    assert "rtsp://***@camera-7/a" in cause
    assert "pa55word" not in cause + caplog.text


def test_messages_are_plain_text() -> None:
    """Without control sequences, addresses in memory and bytes that are no text."""
    messages = Messages(Credentials(), noise=("Time:",))
    messages.add(b"\x1b[31m[tcp @ 0x55ac4aae00c0] refused\x1b[0m\x07\nTime: 0.1 sec\rpipe:0: \xff\n")
    assert messages.text() == "[tcp] refused; \ufffd"


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "concat:/etc/passwd|x", "data:audio/wav;base64,UklG", "subfile,,start,0,,:/etc/passwd"),
        *("-i", "-f lavfi", "/etc/passwd", "pipe:0", "unix:///run/x", "http://a b/", "rtsp://a/\nfile 'x'", "http://"),
        *("gopher://a/", "rtsp+file://a/", "lavfi:sine", "HTTP\t://a/", "crypto+http://a/"),
    ],
)  # fmt: skip
def test_other_addresses_are_refused(url: str) -> None:
    """Nothing but a stream of the network."""
    with pytest.raises(ValidationError):
        StreamSource(name="a", machine_id="a", url=url)


def test_an_address_stays_one_word_of_the_playlist() -> None:
    """Quotes, backslashes and signs of ffmpeg cannot end it."""
    url = "http://a/'\\''option;x|y?'%0afile=/etc/passwd'"
    lines = stream_command(StreamSource(name="a", machine_id="a", url=url)).stdin.decode().splitlines()
    assert lines[1] == "file 'http://a/'\\''\\'\\'''\\''option;x|y?'\\''%0afile=/etc/passwd'\\'''"
    assert [line for line in lines if line.startswith("file")] == [lines[1]]


def test_each_stream_has_time_limits() -> None:
    """In each scheme."""
    for scheme in ("rtsp", "rtsps", "http", "https", "udp", "rtp", "srt"):
        command = stream_command(StreamSource(name="a", machine_id="a", url=f"{scheme}://a:1/", timeout_s=3))
        assert b"timeout 4000000\n" in command.stdin


@pytest.mark.parametrize(
    "device", ["alsa:file:FILE=x", "alsa:tee:hw,x", "alsa:hw:1,0", "pulse:a b", "pulse:", "-D", "hw:0"]
)
def test_other_devices_are_refused(device: str) -> None:
    """Numbers of cards, and plugins that write files."""
    with pytest.raises(ValidationError):
        DeviceSource(name="a", machine_id="a", device=device)


def test_names_of_devices_are_no_options() -> None:
    """A name that begins with a dash stays a name."""
    for device in ("pulse:--help", "alsa:-x"):
        words = device_command(DeviceSource(name="a", machine_id="a", device=device)).words
        assert f"--device={device.partition(':')[2]}" in words


def test_without_programs_the_sentence_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """For devices and for streams."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ProgramMissing, match=r"apt-get install ffmpeg .*signalml\[live\]"):
        find_ffmpeg()
    for device, package in (("alsa:hw:CARD=USB", "alsa-utils"), ("pulse:mic", "pulseaudio-utils")):
        with pytest.raises(ProgramMissing, match=f"apt-get install {package}"):
            device_command(DeviceSource(name="a", machine_id="a", device=device))
    assert list_devices() == []


def test_an_old_ffmpeg_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions before 5 have other names for the time limits: the package's ffmpeg is used."""
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\necho ffmpeg version 4.4.2-0ubuntu0.22.04.1\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "imageio_ffmpeg" in find_ffmpeg()


def test_stop_takes_effect_at_once_and_leaves_nothing() -> None:
    """In each state, within two seconds: while it starts, reads, and waits."""
    process = psutil.Process()
    before = (process.num_fds(), threading.active_count(), set(process.children()))
    for command in (program("noise", "60", str(RATE)), Command(("sleep", "600")), Command(("false",))):
        with running(reader_of(Opened(command))) as receiver:
            time.sleep(0.3)
        assert receiver.stop_s < 2
    assert (process.num_fds(), threading.active_count(), set(process.children())) == before
