"""What live listening meets, as real programs: a microphone, streams and a broker, each on a free port of its own.

A :class:`testing.sound_feed.SoundFeed` plays sounds in real time into any of them. All are context managers: at their
end no process and no file is left. The receivers of alerts are in :mod:`testing.receivers`.
"""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx
import psutil

from listener.live.client import ListenerClient
from listener.status import SourceStatus
from ml.errors import ListenerNotRunning
from testing.programs import RunningProgram, accepts
from testing.servers import PATIENCE_S, environment, free_port
from testing.sound_feed import RATE_HZ

SYSTEM_PYTHON = "/usr/bin/python3"
SINK = "microphone"
PASSWORD = "test"
OWNER = "<changeowner><user>nobody</user><group>nogroup</group></changeowner>"  # icecast refuses to run as root
ICECAST = """<icecast>
  <limits><clients>20</clients><sources>2</sources><burst-on-connect>0</burst-on-connect></limits>
  <authentication>
    <source-password>{password}</source-password>
    <admin-user>admin</admin-user><admin-password>{password}</admin-password>
  </authentication>
  <hostname>localhost</hostname>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <paths>
    <logdir>/tmp</logdir><webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot>
  </paths>
  <logging><accesslog>-</accesslog><errorlog>-</errorlog><loglevel>2</loglevel></logging>
  <security><chroot>0</chroot>{owner}</security>
</icecast>
"""


class PulseServer(RunningProgram):
    """PulseAudio with a virtual microphone: what :meth:`write` plays into it can be recorded.

    Attributes:
        variables: variables with which programs use it.
        device: the microphone, as a source names it.
    """

    device = f"pulse:{SINK}.monitor"

    def __init__(self, folder: Path, rate_hz: int = RATE_HZ) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="pulse-")  # the path of a socket has at most 107 bytes
        self._socket = Path(self._files.name) / "native"
        self._sink = f"module-null-sink sink_name={SINK} format=s16le channels=1 rate={rate_hz}"
        self.variables = {
            "XDG_RUNTIME_DIR": self._files.name,
            "XDG_CONFIG_HOME": self._files.name,
            "PULSE_SERVER": f"unix:{self._socket}",
        }
        command = (
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"),
            *("-L", f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}", "-L", self._sink),
        )
        super().__init__(command, folder / "pulse.log", self._answers, os.environ | self.variables)
        play = ("pacat", "--playback", "--raw", f"--rate={rate_hz}", "--channels=1", "--format=s16le")
        play += (f"--device={SINK}", "--latency-msec=400", "--process-time-msec=50")
        self._player = RunningProgram(play, folder / "pacat.log", variables=os.environ | self.variables, reads=True)

    def start(self) -> Self:
        """Start it, and wait until it can be used."""
        super().start()
        self._player.start()
        return self

    def stop(self) -> None:
        """Let it end."""
        self._player.kill()
        super().stop()

    def close(self) -> None:
        """Let it end, and delete its files."""
        self.stop()
        self._files.cleanup()

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Play samples, 16 bits."""
        self._player.write(data)

    def unplug(self) -> None:
        """Remove the microphone."""
        self._pactl("unload-module", "module-null-sink")

    def plug_in(self) -> None:
        """Add the microphone again."""
        self._pactl("load-module", *self._sink.split())
        self._player.kill()
        self._player.start()

    def _pactl(self, *words: str) -> None:
        command = ("pactl", *words)
        subprocess.run(command, env=os.environ | self.variables, check=True, capture_output=True, timeout=PATIENCE_S)

    def _answers(self) -> bool:
        with suppress(OSError):
            return stat.S_ISSOCK(self._socket.stat().st_mode) and accepts(str(self._socket))
        return False


class RtspServer(RunningProgram):
    """RTSP server of one microphone, which sends what :meth:`write` gets; see ``testing/rtsp_server.py``."""

    def __init__(self, folder: Path, rate_hz: int = RATE_HZ) -> None:
        port = free_port()
        self.url = f"rtsp://127.0.0.1:{port}/audio"
        script = Path(__file__).with_name("rtsp_server.py")
        command = (SYSTEM_PYTHON, script, port, rate_hz)
        super().__init__(command, folder / "rtsp.log", lambda: accepts(port), reads=True)


class Icecast(RunningProgram):
    """Icecast, with an encoder (ffmpeg) that sends what :meth:`write` gets, as FLAC.

    Attributes:
        url: the stream.
        encoder: the encoder, which can be stopped alone.
    """

    def __init__(self, folder: Path, rate_hz: int = RATE_HZ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/hall.ogg"
        config = folder / "icecast.xml"
        config.write_text(ICECAST.format(port=port, password=PASSWORD, owner=OWNER if os.getuid() == 0 else ""))
        super().__init__(("icecast2", "-c", config), folder / "icecast.log", self._answers)
        target = f"icecast://source:{PASSWORD}@127.0.0.1:{port}/hall.ogg"
        encode = (
            *("ffmpeg", "-hide_banner", "-loglevel", "error", "-probesize", 32, "-analyzeduration", 0),
            *("-f", "s16le", "-ar", rate_hz, "-ac", 1, "-i", "pipe:0"),
            *("-c:a", "flac", "-flush_packets", 1, "-page_duration", 100_000),
            *("-f", "ogg", "-content_type", "application/ogg", target),
        )
        self.encoder = RunningProgram(encode, folder / "encoder.log", reads=True)

    def start(self) -> Self:
        """Start it, and wait until it can be used."""
        super().start()
        self.encoder.start()
        return self

    def stop(self) -> None:
        """Let it end."""
        self.encoder.kill()
        super().stop()

    def write(self, data: bytes) -> None:
        """Send samples, 16 bits."""
        self.encoder.write(data)

    def _answers(self) -> bool:
        with suppress(httpx.TransportError):
            found = httpx.get(self.url, trust_env=False)
            return found.headers.get("server", "").startswith("Icecast")
        return False


class Mosquitto(RunningProgram):
    """MQTT broker, which keeps its sessions and retained messages over a restart.

    Args:
        folder: for its files.
        user: name of its only user, with the password :data:`PASSWORD`; None to let everybody in.
    """

    def __init__(self, folder: Path, user: str | None = None) -> None:
        self.port = free_port()
        access = f"{user}:{PASSWORD}@" if user else ""
        self.url = f"mqtt://{access}127.0.0.1:{self.port}"
        files = folder / "mosquitto"
        files.mkdir()
        lines = [f"listener {self.port} 127.0.0.1", "persistence true", f"persistence_location {files}/"]
        if user is None:
            lines.append("allow_anonymous true")
        else:
            command = ("mosquitto_passwd", "-b", "-c", files / "passwords", user, PASSWORD)
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
            lines.append(f"password_file {files}/passwords")
        if os.getuid() == 0:
            lines.append("user root")  # the user of the package cannot read the folder of a test
        config = files / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        super().__init__(("mosquitto", "-c", config), folder / "mosquitto.log", lambda: accepts(self.port))


class ListenerProcess(RunningProgram):
    """A running ``signalml listen``.

    Attributes:
        client: client of its local socket.

    Args:
        home: its SIGNALML_HOME.
        folder: for its log.
        variables: further variables, such as those of :class:`PulseServer`.
        settings: ``alarm_of=3`` is SIGNALML_ALARM_OF.
    """

    def __init__(
        self, home: Path, folder: Path, variables: Mapping[str, str] | None = None, **settings: object
    ) -> None:
        self.home, self.client = home, ListenerClient(home)
        command = (sys.executable, "-m", "cli.main", "listen", "--quiet")
        used = environment(home=home, **settings) | dict(variables or {})
        super().__init__(command, folder / "listener.log", self._runs, used)

    def status_of(self, source: str) -> SourceStatus:
        """Return the state of one source."""
        return next(each for each in self.client.status().sources if each.name == source)

    def processes(self) -> list[psutil.Process]:
        """Return it and its children."""
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]

    def _runs(self) -> bool:
        with suppress(ListenerNotRunning):
            return self.client.status().pid == self.pid
        return False
