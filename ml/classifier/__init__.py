"""The classifier: its recipe, network, training data, fit and temperature, and LiteRT for serving.

The modules ``network``, ``stream`` and ``fitting`` load Keras or TensorFlow; the others do not.
"""
