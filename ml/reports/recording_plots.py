"""Example recordings in a page: spectrogram and player, with the sound embedded."""

import base64
import io
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.audio.decode import decode
from ml.audio.resampling import resample
from ml.errors import SignalMLError
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.reports.drawing import Picture, draw_picture
from ml.reports.facts import Exemplar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# 5 s at 16 kHz and 16 bit are 160 kB, and 213 kB as base64. Twelve of them with their figures need less than 4 MB.
PLAYED_S, PLAYED_RATE_HZ = 5.0, 16_000
MAX_EXEMPLARS = 12
PEAK = 0.89  # -1 dBFS
SHOWN_DB = 70.0
TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)


@dataclass(frozen=True, slots=True)
class RenderedExemplar:
    """An exemplar in the page. If its file cannot be read, it has a reason instead of picture and player."""

    title: str
    caption: str
    picture: Picture | None
    player: str | None
    reason: str | None


def render_exemplar(exemplar: Exemplar, number: int) -> RenderedExemplar:
    """Decode, draw and encode the exemplar with this number in the page."""
    try:
        recording = decode(exemplar.path)
        rate_hz = min(recording.sample_rate_hz, PLAYED_RATE_HZ)
        # 0.1 s more than is played, for the edge of the resampling filter.
        beginning = recording.samples[: int((PLAYED_S + 0.1) * recording.sample_rate_hz)]
        samples = resample(beginning, recording.sample_rate_hz, rate_hz, "kaiser_fast")[: int(PLAYED_S * rate_hz)]
        drawn = _spectrogram(samples, rate_hz, exemplar, number)
    except (SignalMLError, OSError) as error:
        # The page must not show the folder of the file.
        reason = error.strerror if isinstance(error, OSError) else error
        return RenderedExemplar(
            exemplar.title, exemplar.caption, None, None, f"{exemplar.path.name} cannot be read: {reason}"
        )
    return RenderedExemplar(exemplar.title, exemplar.caption, drawn, _data_uri(samples, rate_hz), None)


def _spectrogram(samples: NDArray[np.float32], rate_hz: int, exemplar: Exemplar, number: int) -> Picture:
    spec = FeatureSpec(
        sample_rate_hz=rate_hz,
        fmax_hz=rate_hz / 2,
        clip_frames=2,
        n_fft=1024,
        hop_length=256,
        n_mels=80,
        dynamic_range_db=SHOWN_DB,
    )
    extractor = FeatureExtractor(spec)
    log_mel = extractor.log_mel(samples).T
    seconds = len(samples) / rate_hz
    return draw_picture(
        f"exemplar-{number}",
        f"Spectrogram of {exemplar.title}",
        exemplar.caption,
        lambda figure: _draw(figure, log_mel - log_mel.max(), extractor.band_edges_hz, seconds),
        height_in=2.5,
    )


def _draw(figure: "Figure", levels_db: NDArray[np.float32], edges_hz: NDArray[np.float64], seconds: float) -> None:
    axes = figure.add_subplot()
    bands = len(levels_db)
    image = axes.imshow(
        levels_db,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, bands),
        vmin=-SHOWN_DB,
        vmax=0,
        cmap="viridis",
        interpolation="none",
    )
    # Bands have equal height: band i is drawn from i to i + 1, and its centre is edge i + 1.
    shown = [hz for hz in TICKS_HZ if hz <= edges_hz[-1]]
    axes.set_yticks(np.interp(shown, edges_hz, np.arange(bands + 2) - 0.5), [_kilohertz(hz) for hz in shown])
    axes.set(xlabel="seconds", ylabel="kHz")
    axes.grid(visible=False)
    figure.colorbar(image, label="dB", pad=0.02, ticks=(-60, -40, -20, 0))


def _kilohertz(hz: float) -> str:
    return f"{hz / 1000:g}"


def _data_uri(samples: NDArray[np.float32], rate_hz: int) -> str:
    """Return the sound as a 16-bit WAV. All sounds have the same peak, so that a quiet machine is audible."""
    loudest = float(np.abs(samples).max())
    scaled = samples * (32_767 * PEAK / loudest if loudest > 0 else 0.0)
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, rate_hz, len(samples), "NONE", ""))
        file.writeframes(np.round(scaled).astype("<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(content.getvalue()).decode()
