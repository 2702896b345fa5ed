"""RTSP server of one microphone: ``/usr/bin/python3 rtsp_server.py PORT RATE_HZ``, with raw 16-bit samples on stdin.

It runs with the Python of the system, which has the bindings of GStreamer; so it imports nothing of this project. What
arrives while nobody listens is dropped, as of a camera.
"""

import os
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions come first

PATH = "/audio"
PIPELINE = (
    "( appsrc name=microphone is-live=true do-timestamp=true format=time max-bytes=64000 "
    "caps=audio/x-raw,format=S16LE,rate={rate},channels=1,layout=interleaved "
    "! audioconvert ! rtpL16pay name=pay0 pt=97 )"
)


def main() -> None:
    """Serve until stdin ends."""
    port, rate_hz = sys.argv[1:]
    Gst.init(None)
    microphones: set[Gst.Element] = set()
    server, factory = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory.set_launch(PIPELINE.format(rate=rate_hz))
    factory.set_shared(True)

    def configure(_: object, media: GstRtspServer.RTSPMedia) -> None:
        microphone = media.get_element().get_child_by_name("microphone")
        microphones.add(microphone)
        media.connect("unprepared", lambda _: microphones.discard(microphone))

    factory.connect("media-configure", configure)
    server.get_mount_points().add_factory(PATH, factory)
    server.attach(None)
    loop = GLib.MainLoop()
    threading.Thread(target=feed, args=(microphones, loop), daemon=True).start()
    loop.run()


def feed(microphones: set[Gst.Element], loop: GLib.MainLoop) -> None:
    """Give the samples of stdin to all microphones that are listened to."""
    rest = b""
    while data := os.read(0, 4096):
        data = rest + data
        whole = len(data) // 2 * 2
        rest = data[whole:]
        for microphone in list(microphones):
            microphone.emit("push-buffer", Gst.Buffer.new_wrapped(data[:whole]))
    loop.quit()


if __name__ == "__main__":
    main()
