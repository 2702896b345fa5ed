"""Ffmpeg: where it is, and its command for a stream."""

import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from listener.capture.causes import Credentials
from listener.capture.connection import Limits
from listener.capture.pcm_reader import PcmReader
from listener.capture.program import Command, Program
from listener.capture.timeline import Tolerance
from listener.config.entry import WEB_SCHEMES
from listener.config.source_types import StreamSource
from ml.errors import ProgramMissing

OLDEST_VERSION = 5  # older ones have other names for the time limits
VERSION = re.compile(r"ffmpeg version n?([0-9]+)\.")
MISSING = (
    "ffmpeg 5 or newer is needed and was not found. Install it with  apt-get install ffmpeg  or with  "
    "pip install 'signalml[live]'"
)
# Protocols that a stream may open. "file", "concat", "data", "subfile" and others would read what is on this computer.
PROTOCOLS = {
    "rtsp": "rtsp,rtp,srtp,udp,tcp",
    "rtsps": "rtsps,rtsp,rtp,srtp,udp,tcp,tls",
    "http": "http,https,httpproxy,tcp,tls,crypto",
    "https": "http,https,httpproxy,tcp,tls,crypto",
    "udp": "udp",
    "rtp": "rtp,srtp,udp",
    "srt": "srt,udp",
}
# Containers that carry sound. Others, such as lists of files and images, are not opened.
FORMATS = (
    "rtsp,rtp,sdp,hls,mpegts,mp3,aac,ogg,wav,w64,flac,aiff,au,caf,mov,mp4,m4a,matroska,webm,asf,flv,ac3,eac3,amr,"
    "loas,latm,s16le,s16be,g722,g726"
)
NOISE = ("Impossible to open", "Unused options", "Ignoring maximum wav data size", "Guessed Channel Layout")
# What ffmpeg reads before it begins. At 16 kHz, WAV without compression has 64 KiB in two seconds; a playlist with a
# picture needs more until its sound comes.
PROBE_BYTES, PLAYLIST_PROBE_BYTES, ANALYZE_US = 2**16, 500_000, 2_000_000
CONNECT_S = 3.0  # beyond the time limit of a stream
PLAYLIST_SUFFIXES = (".m3u8", ".m3u")
# A playlist has pieces of up to about ten seconds, each of which arrives at once.
PLAYLIST_STALL_S, PLAYLIST_TOLERANCE = 30.0, Tolerance(late_s=12.0, hold_s=20.0, window_s=60.0)


def find_ffmpeg() -> str:
    """Return the path of ffmpeg: that of the system, else that of the package imageio-ffmpeg.

    Raises:
        ProgramMissing: there is none.
    """
    for path in (shutil.which("ffmpeg"), _packaged()):
        if path is not None and _version(path, Path(path).stat().st_mtime) >= OLDEST_VERSION:
            return path
    raise ProgramMissing(MISSING)


def stream_command(source: StreamSource) -> Command:
    """Return the command that writes the sound of a stream to stdout.

    The address stands in a playlist on stdin, and not among the arguments, which all users of the computer can read.
    The options of the playlist's entry also bound what the stream itself can open.

    Raises:
        ProgramMissing: there is no ffmpeg.
    """
    rate = () if source.sample_rate_hz is None else ("-ar", str(source.sample_rate_hz))
    protocols = PROTOCOLS[_scheme(source)]
    words = (
        *(find_ffmpeg(), "-hide_banner", "-nostats", "-loglevel", "warning"),
        *("-protocol_whitelist", f"pipe,{protocols}", "-threads", "1"),
        *("-f", "concat", "-safe", "0", "-i", "pipe:0"),
        *("-map", "0:a:0", *rate, "-c:a", "pcm_s16be", "-map_metadata", "-1"),
        *("-flush_packets", "1", "-f", "au", "pipe:1"),
    )
    options = {"protocol_whitelist": protocols, "format_whitelist": FORMATS} | _options(source)
    lines = ["ffconcat version 1.0", f"file {_quoted(source.url)}"]
    lines += [f"option {name} {value}" for name, value in options.items()]
    return Command(words, "\n".join([*lines, ""]).encode(), Credentials(source.url), NOISE)


def stream_reader(source: StreamSource) -> PcmReader:
    """Return the reader of a stream."""
    return PcmReader(source.name, lambda: Program(stream_command(source)), None, source.channel, _limits(source))


def _limits(source: StreamSource) -> Limits:
    if _is_playlist(source):
        stall_s = max(source.timeout_s, PLAYLIST_STALL_S)
        return Limits(stall_s, stall_s, tolerance=PLAYLIST_TOLERANCE)
    return Limits(source.timeout_s + CONNECT_S, source.timeout_s)


def _options(source: StreamSource) -> dict[str, object]:
    """Return options of ffmpeg's input, each with a time limit."""
    scheme, limit_us = _scheme(source), int((source.timeout_s + 1) * 1e6)
    probe_bytes = PROBE_BYTES if scheme in WEB_SCHEMES and not _is_playlist(source) else PLAYLIST_PROBE_BYTES
    common: dict[str, object] = {"probesize": probe_bytes, "analyzeduration": ANALYZE_US}
    if scheme in ("rtsp", "rtsps"):
        return common | {
            "rtsp_transport": source.transport,
            "allowed_media_types": "audio",
            "timeout": limit_us,
        }
    if scheme in WEB_SCHEMES:
        return common | {"rw_timeout": limit_us, "icy": 0}
    return common | {"timeout": limit_us}


def _scheme(source: StreamSource) -> str:
    return urlsplit(source.url).scheme


def _is_playlist(source: StreamSource) -> bool:
    return urlsplit(source.url).path.endswith(PLAYLIST_SUFFIXES)


def _quoted(text: str) -> str:
    """Return a text as one word of ffmpeg's playlists."""
    return "'" + text.replace("'", "'\\''") + "'"


@lru_cache(maxsize=8)
def _version(path: str, _changed: float) -> int:
    """Return the major version of an ffmpeg; that of a development build without a number counts as new."""
    try:
        shown = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=10, check=True).stdout  # noqa: S603 - a found program
    except (OSError, subprocess.SubprocessError):
        return 0
    found = VERSION.match(shown)
    return int(found[1]) if found else OLDEST_VERSION


def _packaged() -> str | None:
    """Return the path of the ffmpeg of imageio-ffmpeg, which the extra ``live`` installs."""
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None
