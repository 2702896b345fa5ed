"""The original's way, written afresh: Flask's own server, librosa, and Keras ``predict``.

Nothing is slower than it needs to be while staying that way: one process, the model built once and before listening,
no progress bar, no reloader. ``python -m benchmarks.inference.original --port 5001`` starts it by itself.
"""

import argparse
import os
from pathlib import Path
from typing import IO, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported: no notes about missing GPUs

import keras
import librosa
import numpy as np
from flask import Flask, request
from numpy.typing import NDArray

from benchmarks.inference import samples

SAMPLE_RATE_HZ, ROWS, FRAMES, SILENT_FRAMES = 22_050, 40, 433, 2
MESSAGES = ("Component OK", "Component is imbalanced", "Component is clogged", "Voltage change")


def build_model(weights: Path) -> keras.Model:
    """The original's network with its trained weights, which Keras reads with h5py."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((ROWS, FRAMES, 1))])
    for filters in (16, 32, 64):
        model.add(layers.Conv2D(filters, kernel_size=2, activation="relu"))
        model.add(layers.MaxPooling2D(2))
        model.add(layers.Dropout(0.2))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(len(MESSAGES), activation="softmax"))
    model.load_weights(weights)
    return model


def features(file: IO[bytes]) -> NDArray[np.float32]:
    """40 MFCC x 433 frames: two frames of zeros after the sound, then cropped, or its tail repeated."""
    samples, rate = librosa.load(file, sr=SAMPLE_RATE_HZ, res_type="kaiser_fast")
    mfcc = librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=ROWS)
    mfcc = np.pad(mfcc, ((0, 0), (0, SILENT_FRAMES)))
    missing = FRAMES - mfcc.shape[1]
    if missing > 0:
        mfcc = np.concatenate([mfcc, mfcc[:, -missing:]], axis=1)
    return mfcc[:, :FRAMES]


def answer(probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """The most probable class, in the original's words."""
    label = int(np.argmax(probabilities))
    return {
        "Anomaly": label != 0,
        "Details": {"Message": MESSAGES[label], "Probabilities": probabilities.tolist()},
    }


def infer(model: keras.Model, file: IO[bytes]) -> dict[str, Any]:
    """From a file to its answer."""
    return answer(model.predict(features(file).reshape(1, ROWS, FRAMES, 1), verbose=0)[0])


def create_app(model: keras.Model) -> Flask:
    """The original's two routes."""
    app = Flask(__name__)

    @app.get("/")
    def index() -> str:
        return "server is up"

    @app.post("/inference")
    def inference() -> dict[str, Any]:
        return infer(model, request.files["file"].stream)

    return app


def main() -> None:
    """Load the model, then listen, as the original starts."""
    parser = argparse.ArgumentParser(description="The original's way of answering a recording over HTTP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--data", type=Path, default=samples.default_data(), help="folder with seed/ in it")
    options = parser.parse_args()
    create_app(build_model(samples.weights(options.data))).run(options.host, options.port)


if __name__ == "__main__":
    main()
