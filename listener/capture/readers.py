"""The reader of each kind of source."""

from listener.capture.device import device_reader
from listener.capture.ffmpeg import stream_reader
from listener.capture.folder import FolderReader
from listener.capture.mqtt import MqttReader
from listener.capture.pipe import pipe_reader
from listener.config.source_types import DeviceSource, FolderSource, MqttSource, Source, StreamSource
from listener.options import ListenerOptions
from listener.sound import SourceReader


def make_reader(source: Source, options: ListenerOptions) -> SourceReader:
    """Return the reader of a source. It opens nothing before it runs."""
    if isinstance(source, DeviceSource):
        return device_reader(source)
    if isinstance(source, StreamSource):
        return stream_reader(source)
    if isinstance(source, FolderSource):
        return FolderReader(source, options.folder)
    if isinstance(source, MqttSource):
        return MqttReader(source)
    return pipe_reader(source)
