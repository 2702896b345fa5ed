"""Bytes or a path in, a :class:`~ml.audio.recording.Recording` out; what is not sound is refused by name before memory is spent."""
