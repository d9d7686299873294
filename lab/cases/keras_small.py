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


def relus() -> Any:
    """Activations of activations, and slopes of 0 and 1."""
    i = keras.Input((6,))
    a = L.Softmax()(i)
    outputs = [
        L.ReLU(6.0)(L.ReLU(6.0)(L.ReLU(6.0)(a))),
        L.ReLU()(L.ReLU(6.0)(L.Dense(3)(i))),
        L.ReLU(6.0)(L.ReLU(6.0)(L.Dense(3)(i))),
        L.Dense(2)(L.LeakyReLU(1.0)(a)),
        L.ReLU(6.0)(L.LeakyReLU(0.0)(a)),
    ]
    return keras.Model(i, outputs)


def copies() -> Any:
    """What is calculated twice: activations, layers that are used twice, the blocks of two dilations."""
    i, image = keras.Input((6,), batch_size=1), keras.Input((6, 5, 3), batch_size=1)
    layer, convolution, before = L.Dense(4), L.Conv2D(4, 3, padding="same"), L.Softmax()(image)
    x = convolution(image)
    outputs = [
        L.ReLU()(layer(i)),
        L.Softmax()(L.ReLU()(layer(i))),
        L.Conv2D(2, 1)(L.ReLU()(x)),
        L.Conv2D(3, 1)(L.ReLU()(convolution(image))),
        L.Conv2D(3, 2, dilation_rate=2)(before),
        L.Conv2D(3, 2, dilation_rate=2)(before),
        L.Conv2D(3, 2, dilation_rate=2, padding="same")(L.LeakyReLU()(image)),
        L.Conv2D(3, 1, dilation_rate=2, padding="same")(L.LeakyReLU(0.1)(image)),
    ]
    return keras.Model([i, image], outputs)


def factors() -> Any:
    """Batch normalization between convolutions and dense layers: the factor goes into the convolution."""
    image = keras.Input((4, 5, 3), batch_size=1)
    outputs = [
        L.Dense(3)(norm(L.Conv2D(4, 2, use_bias=False)(image))),
        L.Dense(3)(norm(norm(L.Conv2D(4, 2)(image)))),
        L.Dense(3)(norm(L.DepthwiseConv2D(2)(image))),
        L.Dense(3, use_bias=False)(norm(L.Conv2D(4, 2, use_bias=False)(image), center=False, name="mean_of_0")),
    ]
    return keras.Model(image, outputs)


def flat_twice() -> Any:
    """RESHAPEs in a row before activations and dense layers, with an open and a fixed batch."""
    i, rows = keras.Input((6,)), keras.Input((2, 3, 4))
    x = L.Softmax()(L.Dense(3)(rows))
    outputs = [
        L.Dense(3)(L.ReLU()(L.Flatten()(L.Reshape((-1, 1))(L.Dense(10)(i))))),
        L.Dense(2)(L.Dense(4)(L.Reshape((3, 6))(x))),
    ]
    return keras.Model([i, rows], outputs)


def flat_already() -> Any:
    """Flatten of what is flat, with an open batch: before and behind batch normalization, and before an activation."""
    i, image = keras.Input((6,)), keras.Input((4, 4, 2))
    outputs = [
        L.Dense(4)(L.Flatten()(norm(L.Dense(5)(i)))),
        L.Dense(4)(norm(L.Flatten()(L.Softmax()(i)))),
        L.Dense(3)(L.ReLU()(L.Flatten()(L.Conv2D(2, 2)(image)))),
    ]
    return keras.Model([i, image], outputs)


def rows_of_many() -> Any:
    """With a fixed batch, dense layers on rows one after the other."""
    rows = keras.Input((2, 3, 4), batch_size=1)
    x = L.ReLU()(L.Dense(3)(L.Dense(4)(L.Softmax()(rows))))
    return keras.Model(rows, norm(L.Dense(2)(L.Dense(5)(x))))


def axis() -> Any:
    """Batch normalization along the last axis, counted from the front."""
    i, image = keras.Input((6,)), keras.Input((4, 5, 3))
    a = L.Softmax()(i)
    outputs = [
        norm(L.Dense(4)(i), axis=1),
        L.Dense(3)(norm(L.ReLU()(norm(a, axis=1)), axis=1)),
        L.ReLU()(norm(L.Conv2D(4, 2)(image), axis=3)),
        L.ReLU()(norm(L.DepthwiseConv2D(2, use_bias=False)(image), axis=3)),
        L.Softmax()(norm(L.Dense(4)(L.Softmax()(image)), axis=3)),
    ]
    return keras.Model([i, image], outputs)


MODELS: tuple[Callable[[], Any], ...] = (
    paddings,
    one_number,
    rows_of_one,
    reshapes,
    relus,
    copies,
    factors,
    flat_twice,
    flat_already,
    rows_of_many,
    axis,
)


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
