"""The clip that every model must answer as it did when it was written, wherever it runs."""

import io
import wave

import numpy as np

SAMPLE_RATE_HZ, DURATION_S = 16_000, 3
# A fan with 7 blades at 1500 rpm, as far as five harmonics in noise make one.
BLADE_PASS_HZ, HARMONICS = 175.0, 5


def golden_clip() -> bytes:
    """Three seconds of a fan-like hum in noise, 16 bit, as a WAV file; the same bytes every time.

    Shorter than any clip of the original's, so that the rule that fits a clip to the network is exercised too.
    """
    time_s = np.arange(SAMPLE_RATE_HZ * DURATION_S) / SAMPLE_RATE_HZ
    hum = sum(np.sin(2 * np.pi * BLADE_PASS_HZ * k * time_s) / k for k in range(1, HARMONICS + 1))
    noise = np.random.Generator(np.random.PCG64(1)).standard_normal(len(time_s))
    samples = np.round(2000 * (hum + 0.5 * noise)).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE_HZ)
        writer.writeframes(samples.tobytes())
    return file.getvalue()
