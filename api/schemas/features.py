"""Schema of the features of a recording."""

from base64 import b64encode
from typing import Self

from pydantic import Field

from api.schemas.common import ModelVersion, Schema
from ml.models.sound_features import SoundFeatures


class RecordingFeatures(Schema):
    """Mel spectrogram and waveform of a recording, as the model computes them, for a picture."""

    version: ModelVersion
    """Model whose features these are."""
    duration_s: float = Field(gt=0, examples=[10.0])
    """Length of the recording, in seconds."""
    bands: int = Field(ge=1, examples=[128])
    """Number of bands of the spectrogram."""
    columns: int = Field(ge=1, examples=[500])
    """Number of columns of the spectrogram, each of the same time."""
    levels: str = Field(examples=["AAECAwQ="])
    """Base64 of one byte for each band and column, the lowest band first and each band in time order: 0 is `low_db` or
    less, and 255 is `high_db`."""
    low_db: float = Field(examples=[-62.1])
    """Level of the byte 0, in dB relative to a power of 1."""
    high_db: float = Field(examples=[7.9])
    """Level of the byte 255."""
    band_edges_hz: list[float] = Field(examples=[[0.0, 31.25, 62.5]])
    """Edges of the bands in Hz, `bands` + 2 of them: a band rises from one edge to the next and falls to the one after
    it."""
    waveform: str = Field(examples=["gX8="])
    """Base64 of two signed bytes for each part of the recording, in time order: its lowest and highest sample. 127 is
    full scale."""

    @classmethod
    def of(cls, version: str, found: SoundFeatures) -> Self:
        """Return the answer for the features of a model."""
        return cls(
            version=version,
            duration_s=found.duration_s,
            bands=len(found.levels),
            columns=found.levels.shape[1],
            levels=b64encode(found.levels.tobytes()).decode(),
            low_db=round(found.low_db, 2),
            high_db=round(found.high_db, 2),
            band_edges_hz=[round(float(edge), 2) for edge in found.band_edges_hz],
            waveform=b64encode(found.waveform.tobytes()).decode(),
        )
