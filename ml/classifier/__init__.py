"""The network: described, built, fed, fitted, and made honest about its confidence.

``recipe`` and ``calibration`` can be imported without Keras; ``network``, ``stream`` and ``fitting`` load it.
"""
