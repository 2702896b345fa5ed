"""Files that are no recordings, sent as recordings: each gets its status and code, and takes little memory."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from testing.servers import MULTIPART_TYPE, ServerProcess, assert_problem, multipart, request
from tests import sounds
from tests.integration.uploads import GOOD, PNG, SECOND, WAV_TYPE


@cache
def flac() -> bytes:
    """A truthful FLAC file."""
    return sounds.flac(SECOND)


def numbers(*values: float) -> bytes:
    """A second of floats that begin with ``values``."""
    samples = np.concatenate([values, np.zeros(16_000)]).astype("<f4")
    return sounds.wav(samples.tobytes(), tag=sounds.FLOAT, bits=32)


class Refused(NamedTuple):
    """A file, and the status and code that it gets."""

    make: Callable[[], bytes]
    status: int
    code: str


REFUSED = {
    "nothing": Refused(lambda: b"", 422, "audio_empty"),
    "a header without samples": Refused(lambda: sounds.wav(b""), 422, "audio_empty"),
    "text": Refused(lambda: b"This is not sound.", 415, "audio_not_recognised"),
    "a PNG": Refused(lambda: PNG, 415, "audio_not_recognised"),
    "a playlist": Refused(lambda: b"#EXTM3U\nfile:///etc/passwd\n", 415, "audio_not_recognised"),
    "G.726 ADPCM": Refused(lambda: sounds.wav(bytes(8000), tag=0x45, bits=4), 415, "audio_codec_unsupported"),
    "4-bit PCM": Refused(lambda: sounds.wav(bytes(16_000), bits=4), 415, "audio_codec_unsupported"),
    "16-bit floats": Refused(lambda: sounds.wav(bytes(32_000), tag=sounds.FLOAT), 415, "audio_codec_unsupported"),
    "12-bit FLAC": Refused(lambda: sounds.flac_claiming(flac(), bits=12), 415, "audio_codec_unsupported"),
    "a WAV cut short": Refused(lambda: GOOD[:-1000], 422, "audio_truncated"),
    "3200 bytes promised over 1000": Refused(lambda: sounds.wav(bytes(1000), data_size=3200), 422, "audio_truncated"),
    "4 GB promised": Refused(lambda: sounds.wav(bytes(32_000), data_size=4 * 10**9), 422, "audio_truncated"),
    "an exabyte promised": Refused(
        lambda: sounds.wav(bytes(32_000), container="RF64", data_size=2**60), 422, "audio_truncated"
    ),
    "a WAV cut in its header": Refused(lambda: GOOD[:30], 422, "audio_truncated"),
    "a FLAC that promises more": Refused(lambda: sounds.flac_claiming(flac(), frames=20_000), 422, "audio_truncated"),
    "a FLAC cut within a frame": Refused(lambda: flac()[: len(flac()) // 2], 422, "audio_truncated"),
    "a FLAC cut in its header": Refused(lambda: flac()[:20], 422, "audio_truncated"),
    "1 Hz": Refused(lambda: sounds.wav(bytes(32_000), rate_hz=1), 422, "audio_sample_rate_unsupported"),
    "3999 Hz": Refused(lambda: sounds.wav(bytes(32_000), rate_hz=3999), 422, "audio_sample_rate_unsupported"),
    "384001 Hz": Refused(lambda: sounds.wav(bytes(640_000), rate_hz=384_001), 422, "audio_sample_rate_unsupported"),
    "4 GHz": Refused(lambda: sounds.wav(bytes(32_000), rate_hz=2**32 - 1), 422, "audio_sample_rate_unsupported"),
    "65 channels": Refused(lambda: sounds.wav(bytes(65 * 32_000), channels=65), 422, "audio_too_many_channels"),
    "1024 channels": Refused(lambda: sounds.wav(bytes(2048 * 1000), channels=1024), 422, "audio_too_many_channels"),
    "no channels": Refused(lambda: sounds.wav(bytes(32_000), channels=0), 422, "audio_malformed"),
    "blocks that do not fit": Refused(lambda: sounds.wav(bytes(32_000), block=3), 422, "audio_malformed"),
    "samples before a format": Refused(
        lambda: b"RIFF\0\0\0\0WAVE" + sounds.chunk(b"data", bytes(9000)), 422, "audio_malformed"
    ),
    "chunks without end": Refused(
        lambda: b"RIFF\0\0\0\0WAVE" + sounds.chunk(b"LIST", b"") * 100_000, 422, "audio_malformed"
    ),
    "0.49 s": Refused(lambda: sounds.recording(SECOND[:7_840]), 422, "audio_too_short"),
    "601 s": Refused(lambda: sounds.wav(bytes(601 * 8_000), rate_hz=4_000), 413, "audio_too_long"),
    "a FLAC that claims 50 days": Refused(
        lambda: sounds.flac_claiming(flac(), frames=2**36 - 1), 413, "audio_too_long"
    ),
    "a FLAC of silence that unpacks": Refused(lambda: sounds.silent_flac(300, 8), 413, "audio_unpacked_too_large"),
    "a FLAC of another first block": Refused(lambda: flac()[:4] + b"\4" + flac()[5:], 422, "audio_malformed"),
    "NaN": Refused(lambda: numbers(0.1, np.nan), 422, "audio_not_finite"),
    "infinity": Refused(lambda: numbers(-np.inf), 422, "audio_not_finite"),
    "1e30": Refused(lambda: numbers(1e30), 422, "audio_not_finite"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_cannot_be_judged_is_refused_by_name(target: ServerProcess, kind: str) -> None:
    """Every way for a recording to be unfit has its status and code."""
    file = REFUSED[kind]
    answer = target.client.post("/v1/predict", content=file.make(), headers=WAV_TYPE)
    assert_problem(answer, file.status, file.code)


def test_a_file_is_refused_alike_in_a_form_and_in_a_batch(target: ServerProcess) -> None:
    """One of each code: the other routes give the same status and code to the same file."""
    samples = {file.code: file for file in reversed(REFUSED.values())}  # the first of each
    assert len(samples) > 8
    contents = [(file, file.make()) for file in samples.values()]
    for file, content in contents:
        answer = target.client.post("/inference", files={"file": ("sound.wav", content, "audio/wav")})
        assert_problem(answer, file.status, file.code)
    for file, content in contents:
        answer = target.client.post("/v1/predict/batch", files={"file": ("sound.wav", content)})
        (result,) = answer.json()["results"]
        assert (result["error"]["status"], result["error"]["code"]) == (file.status, file.code)


@pytest.mark.parametrize(
    "content",
    [
        sounds.recording(SECOND[:2_000], rate_hz=4_000),
        sounds.recording(sounds.noise(192_000), rate_hz=384_000),
        sounds.recording(sounds.noise(8_000, channels=64)),
        sounds.recording(SECOND[:8_000]),
    ],
    ids=["4 kHz", "384 kHz", "64 channels", "0.5 s"],
)
def test_a_recording_just_within_the_limits_is_judged(target: ServerProcess, content: bytes) -> None:
    """The limits are where the documentation puts them."""
    assert target.client.post("/v1/predict", content=content, headers=WAV_TYPE).status_code == 200


def test_a_refusal_states_what_was_found_and_what_was_expected(target: ServerProcess) -> None:
    """The detail of a refusal has both numbers."""
    content = sounds.wav(bytes(1000), data_size=3200)
    problem = assert_problem(
        target.client.post("/v1/predict", content=content, headers=WAV_TYPE), 422, "audio_truncated"
    )
    assert "3200" in problem["detail"]
    assert "1000" in problem["detail"]


def test_a_picture_called_wav_is_refused_as_a_picture(target: ServerProcess) -> None:
    """Names and announced types are not believed."""
    answer = target.client.post("/inference", files={"file": ("sound.wav", PNG, "audio/wav")})
    assert "PNG" in assert_problem(answer, 415, "audio_not_recognised")["detail"]


@pytest.mark.parametrize("name", ["../../../../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "a/../../b.wav"])
def test_a_file_name_is_echoed_and_touches_nothing(target: ServerProcess, name: str) -> None:
    """A file name is text: it comes back as it was sent, and nothing on disk comes or goes."""

    def everything() -> list[tuple[Path, float]]:
        folders = (target.home, target.folder)
        paths = [path for folder in folders for path in folder.rglob("*") if path.name != "server.log"]
        return sorted((path, path.stat().st_mtime) for path in paths)

    before = everything()
    body = multipart(("file", name.replace("\\", "\\\\"), GOOD))
    answer = target.exchange(request("POST", "/v1/predict/batch", [MULTIPART_TYPE], body))
    assert [result["file_name"] for result in answer.json()["results"]] == [name]
    assert target.exchange(request("POST", "/inference", [MULTIPART_TYPE], body)).status == 200
    assert everything() == before
