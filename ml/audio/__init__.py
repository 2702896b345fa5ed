"""Audio decoding: the bytes of a recording, or a path, to a :class:`~ml.audio.recording.Recording`.

A file that cannot be used is refused with a named error. Limits are checked before memory is used for samples.
"""
