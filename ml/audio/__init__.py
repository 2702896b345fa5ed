"""Bytes or a path in, a :class:`Recording` out; what is not sound is refused by name before memory is spent."""

from ml.audio.decode import decode
from ml.audio.limits import DEFAULT_LIMITS, AudioLimits
from ml.audio.recording import Channel, Quality, Recording
from ml.audio.survey import Survey, survey

__all__ = ["DEFAULT_LIMITS", "AudioLimits", "Channel", "Quality", "Recording", "Survey", "decode", "survey"]
