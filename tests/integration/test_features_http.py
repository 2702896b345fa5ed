"""What the model computes of a recording, over HTTP: spectrogram and waveform of uploads, and of a dataset."""

from base64 import b64decode

import numpy as np
import pytest

from ml.models.registry import Registry
from testing.servers import ServerProcess, assert_problem
from tests import sounds
from tests.integration.uploads import WAV_TYPE, Body

FEATURES = "/v1/features"


def features(server: ServerProcess, wav: bytes, **parameters: int) -> Body:
    """The features of an upload."""
    answer = server.client.post(FEATURES, content=wav, headers=WAV_TYPE, params=parameters)
    assert answer.status_code == 200, answer.text
    found: Body = answer.json()
    return found


def levels(found: Body) -> np.ndarray:
    """The spectrogram in dB, ``(bands, columns)``."""
    share = np.frombuffer(b64decode(found["levels"]), np.uint8).reshape(found["bands"], found["columns"]) / 255
    return np.asarray(found["low_db"] + share * (found["high_db"] - found["low_db"]))


def test_a_tone_is_at_its_frequency_and_time(server: ServerProcess) -> None:
    """The second half has a tone of 2 kHz; the waveform has its amplitude."""
    samples = sounds.noise(32_000, level=0.001)
    samples[16_000:] += sounds.sine(2000, 16_000, 16_000, 0.5)
    found = features(server, sounds.recording(samples), columns=40)
    assert found["duration_s"] == 2.0
    assert found["columns"] <= 40
    assert len(found["band_edges_hz"]) == found["bands"] + 2
    db = levels(found)
    band, column = np.unravel_index(db.argmax(), db.shape)
    assert found["band_edges_hz"][band] < 2000 < found["band_edges_hz"][band + 2]
    assert column >= found["columns"] // 2 - 1
    assert db[band, : found["columns"] // 2 - 1].max() < db.max() - 30
    waveform = np.frombuffer(b64decode(found["waveform"]), np.int8).reshape(-1, 2)
    assert len(waveform) <= 40
    assert abs(waveform[: len(waveform) // 2 - 1]).max() <= 1
    assert waveform[len(waveform) // 2 + 1 :, 1].min() == pytest.approx(64, abs=2)


def test_the_levels_are_those_of_the_model(server: ServerProcess) -> None:
    """As the extractor of its spec computes them, in every band."""
    wav = sounds.recording(sounds.fan(1.0))
    found = features(server, wav, columns=1000)
    predictor = Registry(server.home).load_predictor("champion")
    assert found["version"] == predictor.model.version
    extractor, recording = predictor.extractor, predictor.decode(wav)
    expected = extractor.log_mel_and_power(extractor.resample(recording.samples, recording.sample_rate_hz))[0].T
    step = (found["high_db"] - found["low_db"]) / 255
    assert levels(found) == pytest.approx(np.clip(expected, found["low_db"], found["high_db"]), abs=step)


def test_it_is_small_and_not_judged(server: ServerProcess) -> None:
    """Ten seconds take less than 100 kB, and no machine can be named."""
    answer = server.client.post(FEATURES, content=sounds.recording(sounds.fan(10.0)), headers=WAV_TYPE)
    assert len(answer.content) < 100_000
    named = server.client.post(FEATURES, content=b"", headers=WAV_TYPE, params={"machine_id": "fan-3"})
    assert_problem(named, 422, "parameter_unknown")
    assert_problem(server.client.post(FEATURES, content=b"no sound", headers=WAV_TYPE), 415, "audio_not_recognised")


def test_without_a_model_there_are_no_features(growing: ServerProcess) -> None:
    """Of an upload, and of a recording of a dataset."""
    wav = sounds.recording(sounds.fan(1.0, seed=77))
    added = growing.client.post("/v1/datasets/hall/recordings", files={"file": ("a.wav", wav)}).json()
    path = f"/v1/datasets/hall/recordings/{added['results'][0]['recording']['id']}/features"
    assert_problem(growing.client.get(path), 503, "no_model")
    assert_problem(growing.client.post(FEATURES, content=wav, headers=WAV_TYPE), 503, "no_model")
    assert_problem(growing.client.get(path.replace("hall", "absent")), 404, "dataset_not_found")


def test_the_tag_of_a_recording_is_of_its_model(server: ServerProcess) -> None:
    """With it, nothing is computed again; another number of columns is another answer."""
    wav = sounds.recording(sounds.fan(1.0, seed=77))
    added = server.client.post("/v1/datasets/features/recordings", files={"file": ("a.wav", wav)}).json()
    path = f"/v1/datasets/features/recordings/{added['results'][0]['recording']['id']}/features"
    answer = server.client.get(path, params={"columns": 100})
    assert answer.json() == features(server, wav, columns=100)
    tag = {"if-none-match": answer.headers["etag"]}
    again = server.client.get(path, params={"columns": 100}, headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    assert server.client.get(path, params={"columns": 50}, headers=tag).status_code == 200
    server.client.delete("/v1/datasets/features", params={"confirm": "features"}).raise_for_status()
