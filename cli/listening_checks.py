"""Checks of live listening for ``signalml doctor``: sources, sinks, the listener and its clips."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from api.settings import Settings
from cli.entries import listener_status
from cli.finding import Finding
from listener.capture.ffmpeg import find_ffmpeg
from listener.config.files import Entries, sink_file, source_file
from listener.sound import PROBLEM_STATES
from listener.status import ListenerStatus, SinkStatus, SourceStatus
from ml.errors import ModelError, ProgramMissing
from ml.models.registry import Registry

# Packages of the extra `live`, by the kinds of sources and sinks that need them.
PACKAGES = {"folder": "watchfiles", "mqtt": "paho"}
REMEDIES = {
    "no_data": "check cable, gain and address; signalml listen --devices lists microphones",
    "stalled": "check the sender and the network",
    "silent": "check the microphone: muted, unplugged, or without power",
    "wrong_rate": "correct the sample rate or the format of the source",
    "no_model": "train or import a model, or name another one:  signalml sources change NAME --model ALIAS",
}


def check_listening(settings: Settings) -> Iterator[Finding]:
    """Check sources, sinks and the listener; nothing if neither a source nor a sink was ever added."""
    sources, sinks = source_file(settings.home).read(), sink_file(settings.home).read()
    for found in (sources, sinks):
        for problem in found.problems:
            yield Finding("listening", "wrong", problem, "correct the file")
    entries = [entry for found in (sources, sinks) for entry in found.entries.values() if entry.enabled]
    if not entries:
        return
    status = listener_status(settings.home)
    if status is None:
        count = f"{len(sources.entries)} sources and {len(sinks.entries)} sinks"
        remedy = "signalml run, or signalml listen"
        yield Finding("listener", "warning", f"There are {count}, and the listener does not run.", remedy)
        yield from _models(settings.home, sources)
        yield from _programs(entries)
        return
    yield Finding("listener", "ok", f"It runs, as process {status.pid}.")
    yield from (_source(source) for source in status.sources)
    yield from (_sink(sink) for sink in status.sinks)
    yield from _clips(settings, status)


def _programs(entries: list[Any]) -> Iterator[Finding]:
    """Check what a listener would miss here. One that runs, perhaps in another container, reports it itself."""
    kinds = {entry.kind for entry in entries}
    if "stream" in kinds:
        try:
            find_ffmpeg()
        except ProgramMissing as error:
            remedy = "apt-get install ffmpeg, or pip install 'signalml[live]'"
            yield Finding("ffmpeg", "wrong", f"Streams cannot be read. {error}", remedy)
    for package in sorted({PACKAGES[kind] for kind in kinds & PACKAGES.keys() if find_spec(PACKAGES[kind]) is None}):
        needed = ", ".join(sorted(kind for kind in kinds if PACKAGES.get(kind) == package))
        detail = f"The package {package} is not installed; it is needed for {needed}."
        yield Finding("listening", "wrong", detail, "pip install 'signalml[live]'")


def _models(home: Path, sources: Entries) -> Iterator[Finding]:
    registry = Registry(home)
    for entry in sources.entries.values():
        try:
            registry.resolve(entry.model)
        except ModelError as error:
            yield Finding(f"source {entry.name}", "wrong", str(error), REMEDIES["no_model"])


def _source(source: SourceStatus) -> Finding:
    subject, cause = f"source {source.name}", f": {source.cause}" if source.cause else ""
    # Nothing is wrong with a folder into which nobody writes at present.
    if source.state in PROBLEM_STATES and (source.kind, source.state) != ("folder", "no_data"):
        remedy = REMEDIES.get(source.state, "correct the source:  signalml sources show NAME")
        return Finding(subject, "wrong", f"It is {source.state}{cause}.", remedy.replace("NAME", source.name))
    if source.recordings_refused:
        detail = f"{source.recordings_refused} recordings could not be read{cause}."
        return Finding(subject, "warning", detail, "the log of the listener names them")
    if source.clips_skipped or source.dropped_seconds:
        detail = f"{source.clips_skipped} clips were skipped, {source.dropped_seconds:.0f} s of sound were dropped."
        return Finding(subject, "warning", detail, "this computer is too slow: raise the hop of the sources")
    return Finding(subject, "ok", f"It is {source.state}{cause}; {source.clips_judged} clips were judged.")


def _sink(sink: SinkStatus) -> Finding:
    subject = f"sink {sink.name}"
    if sink.last_error and sink.waiting:
        detail = f"{sink.waiting} alerts wait: {sink.last_error}"
        return Finding(subject, "wrong", detail, f"signalml sinks test {sink.name}")
    if sink.dead:
        remedy = f"signalml sinks dead {sink.name}, then signalml sinks resend {sink.name}"
        return Finding(subject, "warning", f"{sink.dead} alerts were given up.", remedy)
    return Finding(subject, "ok", f"{sink.delivered} alerts were delivered since its start, {sink.waiting} wait.")


def _clips(settings: Settings, status: ListenerStatus) -> Iterator[Finding]:
    options = settings.listener_options
    free = shutil.disk_usage(settings.home).free
    size = f"Clips of events take {status.clip_bytes / 1e6:.0f} of at most {options.clips_max_bytes / 1e6:.0f} MB."
    if free < options.clips_min_free_bytes:
        detail = f"{size} Only {free / 1e6:.0f} MB are free on the disk: clips are not written."
        yield Finding("clips", "wrong", detail, "free some space; events and verdicts go on meanwhile")
    elif status.clips_dropped:
        detail = f"{size} {status.clips_dropped} could not be written since the start of the listener."
        yield Finding("clips", "warning", detail, "see the log of the listener")
    else:
        yield Finding("clips", "ok", size)
