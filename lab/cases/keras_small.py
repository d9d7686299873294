"""Small Keras models in which one rule of the converter's optimizer decides each output. Run with TensorFlow's Python.

How: python lab/cases/keras_small.py DIR [NAME...]. Writes NAME.keras and NAME.float.tflite, the converter's file.
`python -m lab check keras DIR` compares. Random ones: `keras_models.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
import numpy as np
import tensorflow as tf

keras = tf.keras
L = keras.layers


def norm(x: Any, **options: Any) -> Any:
    """Batch normalization."""
    return L.BatchNormalization(**options)(x)


def paddings() -> Any:
    """ZeroPadding2D before convolutions: as much as SAME adds, at the wrong end, too much, before a pool."""
    i = keras.Input((8, 8, 2))
    one, behind, front = (L.ZeroPadding2D(pad) for pad in (1, ((0, 1), (0, 1)), ((1, 0), (1, 0))))
    outputs = [
        L.Conv2D(2, 3)(one(i)),
        L.Conv2D(2, 3, strides=2)(behind(i)),
        L.Conv2D(2, 3, strides=2)(front(i)),
        L.Conv2D(2, 3, strides=2)(one(i)),
        L.DepthwiseConv2D(3, strides=2)(behind(i)),
        L.DepthwiseConv2D(3)(one(norm(i))),
        L.Conv2D(2, 7, strides=2)(L.ZeroPadding2D(3)(i)),
        L.MaxPooling2D(3, strides=1)(one(i)),
    ]
    return keras.Model(i, outputs)


def one_number() -> Any:
    """Batch normalization of one channel before convolutions and dense layers, with and without an offset."""
    image, value = keras.Input((6, 6, 1)), keras.Input((1,))
    plain = {"center": False, "name": "mean_of_0"}
    outputs = [
        L.Conv2D(3, 3)(norm(image)),
        L.Conv2D(3, 3, padding="same")(norm(image)),
        L.Conv2D(3, 3, padding="same")(norm(image, **plain)),
        L.DepthwiseConv2D(3, depth_multiplier=2)(norm(image)),
        L.Dense(5)(norm(value)),
        L.Dense(5, use_bias=False)(norm(value)),
        L.Dense(4, use_bias=False)(norm(L.Softmax()(L.Dense(1)(value)))),
    ]
    return keras.Model([image, value], outputs)


def rows_of_one() -> Any:
    """With a fixed batch, dense layers on rows of one value; their bias may be zeros."""
    i, wide = keras.Input((4, 1), batch_size=1), keras.Input((2, 2, 2, 1), batch_size=1)
    outputs = [
        L.Dense(3, use_bias=False, activation="relu")(i),
        L.Dense(3)(i),
        L.ReLU()(L.Dense(3, name="bias_of_0")(i)),
        L.Dense(3, use_bias=False)(norm(i)),
        norm(L.Dense(3, use_bias=False)(i)),
        L.Dense(2)(L.Dense(6, use_bias=False)(i)),
        L.Flatten()(L.Dense(3, use_bias=False, activation="relu")(i)),
        L.ReLU()(L.Dense(3, use_bias=False)(wide)),
    ]
    return keras.Model([i, wide], outputs)


def reshapes() -> Any:
    """With a fixed batch, what is added or multiplied behind a RESHAPE, and sums of two."""
    i, image = keras.Input((6,), batch_size=1), keras.Input((2, 3, 6), batch_size=1)
    a, b = L.Softmax()(i), L.LeakyReLU()(i)
    row = L.Reshape((1, 6))
    outputs = [
        L.Softmax()(norm(row(a))),
        L.Softmax()(norm(L.Flatten()(L.Softmax()(image)))),
        L.Add()([row(a), row(b)]),
        L.Add()([row(b), L.Softmax()(row(i))]),
        L.Softmax()(norm(L.Reshape((6, 6))(L.Dense(6)(image)))),
    ]
    return keras.Model([i, image], outputs)


MODELS: tuple[Callable[[], Any], ...] = (paddings, one_number, rows_of_one, reshapes)


def train(model: Any, random: np.random.Generator) -> None:
    """Random weights; zeros where a layer's name says so."""
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            name = weight.name.split("/")[-1].split(":")[0]
            value = random.normal(0, 1, tuple(weight.shape))
            if name == "moving_variance":
                value = np.exp(value)
            zero = (layer.name, name) in (("mean_of_0", "moving_mean"), ("bias_of_0", "bias"))
            values.append(np.where(zero, 0, value).astype(np.float32))
        if values:
            layer.set_weights(values)


def main() -> None:
    """Write the models and the converter's float32 files."""
    target, names = Path(sys.argv[1]), sys.argv[2:]
    target.mkdir(parents=True, exist_ok=True)
    for make in MODELS:
        if names and make.__name__ not in names:
            continue
        keras.backend.clear_session()
        model = make()
        train(model, np.random.default_rng(1))
        model.save(target / f"{make.__name__}.keras")
        content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
        (target / f"{make.__name__}.float.tflite").write_bytes(content)
        print(tf.__version__, make.__name__, flush=True)


if __name__ == "__main__":
    main()
