"""Keras models as people write them, saved and converted by the real TFLiteConverter. Run with TensorFlow's Python.

For each seed: NAME.keras or NAME.h5, NAME.float.tflite, NAME.ranges.tflite (float with calibrated ranges) and
NAME.int8.tflite. Then `keras_check.py DIR` with LastBit's Python.

How: python lab/cases/keras_models.py DIR FIRST LAST.

The converter of TensorFlow 2.16 dies on models of Keras 3 ("missing attribute 'value'"). There it needs Keras 2: the
package tf_keras of the same version, and TF_USE_LEGACY_KERAS=1.
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
from keras_wild import wild

keras = tf.keras
L = keras.layers


class Maker:
    """Random sizes and options for one model."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def size(self, low: int, high: int) -> int:
        """A size from `low` to `high`."""
        return int(self.random.integers(low, high + 1))

    def one(self, *choices: Any) -> Any:
        """One of the choices."""
        return choices[self.size(0, len(choices) - 1)]

    def norm(self, x: Any) -> Any:
        """Batch normalization."""
        return L.BatchNormalization(epsilon=self.one(1e-3, 1e-5), scale=self.one(True, True, False))(x)

    def active(self, x: Any) -> Any:
        """An activation, or none."""
        kind = self.one("ReLU", "ReLU", "ReLU6", "relu", "leaky", "tanh", "sigmoid", "none")
        if kind == "ReLU":
            return L.ReLU()(x)
        if kind == "ReLU6":
            return L.ReLU(6.0)(x)
        if kind == "leaky":
            return L.LeakyReLU()(x)
        return x if kind == "none" else L.Activation(kind)(x)


def mlp(m: Maker) -> Any:
    """Dense layers with batch normalization before or after activations."""
    layers: list[Any] = [keras.Input((m.size(2, 40),))]
    for _ in range(m.size(1, 4)):
        layers.append(
            L.Dense(m.size(1, 50), activation=m.one(None, None, "relu", "tanh"), use_bias=m.one(True, True, False))
        )
        if m.one(True, True, False):
            layers.append(L.BatchNormalization())
        layers += m.one([], [L.ReLU()], [L.Dropout(0.3)], [L.ReLU(), L.Dropout(0.1)])
    return keras.Sequential([*layers, L.Dense(m.size(2, 12), activation=m.one("softmax", None))])


def lenet(m: Maker) -> Any:
    """Convolutions, pools, dense layers."""
    i = keras.Input((m.size(14, 18), m.size(14, 18), m.one(1, 3)))
    x = L.Conv2D(m.size(3, 20), 5, padding="same", activation=m.one("tanh", "relu", None))(i)
    x = m.one(L.AveragePooling2D(2), L.MaxPooling2D((2, 2)))(x)
    x = L.Conv2D(m.size(3, 20), 3, activation=m.one("relu", "sigmoid"))(x)
    x = m.one(L.MaxPooling2D(2, padding="same"), L.AveragePooling2D(2, strides=1))(x)
    x = L.Flatten()(x)
    x = L.Dense(m.size(8, 40), activation="relu")(x)
    return keras.Model(i, L.Dense(10, activation=m.one("softmax", None))(x))


def ds_cnn(m: Maker) -> Any:
    """Depthwise separable convolutions."""
    i = keras.Input((m.size(9, 14), m.size(8, 12), 1))
    x = L.ZeroPadding2D(m.one(1, ((1, 0), (2, 1))))(i) if m.one(True, False) else i
    x = m.active(m.norm(L.Conv2D(m.size(4, 24), (3, 2), strides=m.one(1, 2), use_bias=m.one(True, False))(x)))
    for _ in range(m.size(1, 2)):
        x = L.DepthwiseConv2D(3, padding="same", use_bias=m.one(True, False), depth_multiplier=m.one(1, 1, 2))(x)
        x = m.active(m.norm(x))
        x = m.active(m.norm(L.Conv2D(m.size(4, 24), 1, use_bias=m.one(True, False))(x)))
    x = L.Dropout(0.2)(L.GlobalAveragePooling2D()(x))
    return keras.Model(i, L.Dense(m.size(2, 12), activation="softmax")(x))


def autoencoder(m: Maker) -> Any:
    """Dense encoder and decoder, with a reshape and a skip."""
    rows, columns = m.size(2, 5), m.size(3, 9)
    i = keras.Input((m.size(20, 40),))
    x = m.active(m.norm(L.Dense(rows * columns)(i)))
    x = L.Reshape((rows, columns))(x)
    x = L.Dense(m.size(3, 12), activation=m.one("relu", None))(x)
    x = L.Flatten()(x)
    x = L.Concatenate()([x, i]) if m.one(True, False) else x
    return keras.Model(i, L.Dense(m.size(20, 30), activation="sigmoid")(x))


def residual(m: Maker) -> Any:
    """A residual block, normalized before or after its convolutions."""
    channels = m.size(3, 20)
    i = keras.Input((8, 9, m.one(1, 3)))
    x = L.Conv2D(channels, 3, padding="same", activation=m.one(None, "relu"))(i)
    if m.one(True, False):
        y = L.ReLU()(m.norm(x))
        y = L.Conv2D(channels, 3, padding="same")(y)
        y = L.Conv2D(channels, 3, padding="same")(L.ReLU()(m.norm(y)))
    else:
        y = L.ReLU()(m.norm(L.Conv2D(channels, 3, padding="same", use_bias=False)(x)))
        y = m.norm(L.Conv2D(channels, 3, padding="same", use_bias=False)(y))
        if m.one(True, False):
            x = m.norm(L.Conv2D(channels, 1, use_bias=False)(x))
    x = m.active(L.Add()([x, y]))
    x = L.Flatten()(L.MaxPooling2D(2)(x)) if m.one(True, False) else L.GlobalAveragePooling2D()(x)
    return keras.Model(i, L.Dense(5)(x))


def dense_3d(m: Maker) -> Any:
    """Dense layers on sequences, as in the question."""
    layers: list[Any] = [keras.Input((m.size(2, 16), m.size(3, 48)))]
    for _ in range(m.size(1, 3)):
        layers.append(L.Dense(m.size(2, 32), activation=m.one(None, "relu", "tanh"), use_bias=m.one(True, True, False)))
        layers += m.one([], [], [L.BatchNormalization()], [L.BatchNormalization(), L.ReLU()])
    return keras.Sequential([*layers, *m.one([], [L.Flatten(), L.Dense(4)], [L.Softmax()])])


def mobilenet(m: Maker) -> Any:
    """Many depthwise blocks, some with a skip, as in MobileNet."""
    channels = m.size(4, 17)
    i = keras.Input((10, 9, 3))
    x = m.active(m.norm(L.Conv2D(channels, 3, strides=2, padding="same", use_bias=False)(i)))
    for _ in range(m.size(6, 10)):
        y = L.ReLU(6.0)(m.norm(L.DepthwiseConv2D(3, padding="same", use_bias=m.one(True, False))(x)))
        y = m.norm(L.Conv2D(channels, 1, use_bias=m.one(True, False))(y))
        x = L.Add()([x, y]) if m.one(True, False) else m.active(y)
    x = L.Flatten()(L.AveragePooling2D(2)(x))
    return keras.Model(i, L.Dense(m.size(2, 12), activation="softmax")(L.Dropout(0.1)(x)))


def deep_mlp(m: Maker) -> Any:
    """Many dense layers, with batch normalization before and after activations."""
    layers: list[Any] = [keras.Input((m.size(2, 40),))]
    for _ in range(m.size(8, 14)):
        layers.append(L.Dense(m.size(1, 40), use_bias=m.one(True, True, False)))
        norm = L.BatchNormalization
        layers += m.one([], [norm()], [norm(), L.ReLU()], [L.ReLU(), norm()])
    return keras.Sequential([*layers, L.Dense(m.size(2, 12))])


def shared(m: Maker) -> Any:
    """Layers that are used twice: two branches with the same weights, as in a siamese network."""
    first, second = keras.Input((m.size(4, 20),), name="left"), keras.Input((m.size(4, 20),), name="right")
    width = m.size(3, 20)
    x, y = L.Dense(width)(first), L.Dense(width, activation="relu")(second)
    encoder, norm = L.Dense(m.size(2, 16), activation=m.one(None, "relu", "tanh")), L.BatchNormalization()
    x, y = encoder(x), encoder(y)
    if m.one(True, False):
        x, y = norm(x), norm(y)
    relu = L.ReLU()
    x = L.Concatenate()([relu(x), relu(y)]) if m.one(True, False) else L.Add()([x, y])
    return keras.Model([first, second], L.Dense(m.size(1, 5), activation=m.one("sigmoid", None))(x))


def nested(m: Maker) -> Any:
    """Models used as layers, once or twice, Sequential and functional."""
    i = keras.Input((8, 9, m.one(1, 3)))
    inner = keras.Input((8, 9, i.shape[-1]))
    x = m.active(m.norm(L.Conv2D(m.size(3, 12), 3, padding="same", use_bias=m.one(True, False))(inner)))
    if m.one(True, False):
        body = keras.Model(inner, L.MaxPooling2D(2)(x), name="backbone")
    else:
        block = keras.Sequential([L.DepthwiseConv2D(3, padding="same"), L.BatchNormalization(), L.ReLU()], name="block")
        body = keras.Model(inner, block(x), name="backbone")
    head = keras.Sequential(
        [L.Flatten(), L.Dense(m.size(3, 12), activation="relu"), L.BatchNormalization(), L.Dense(4)]
    )
    if m.one(True, False):
        return keras.Model(i, head(body(i)))
    x = body(i)
    return keras.Model(i, L.Concatenate()([head(x), head(L.ReLU(6.0)(x))]))


def several_outputs(m: Maker) -> Any:
    """Several outputs, in another order than they are made in; one of them is used by layers too."""
    i = keras.Input((m.size(6, 30),))
    x = m.active(m.norm(L.Dense(m.size(4, 30))(i)))
    boxes = L.Dense(4, name="boxes")(x)
    classes = L.Dense(m.size(2, 7), activation="softmax", name="classes")(L.ReLU()(boxes) if m.one(True, False) else x)
    score = L.Dense(1, activation="sigmoid", name="score")(L.Concatenate()([boxes, classes]))
    return keras.Model(i, m.one([score, boxes, classes], [classes, score], [boxes, x, score]))


def options(m: Maker) -> Any:
    """Dilations, groups, paddings; activations by name, by function and by layer."""
    act = m.one("relu", tf.nn.relu, keras.activations.tanh, L.ReLU(), "relu6", keras.activations.sigmoid, None)
    groups = m.one(1, 2, 4)
    i = keras.Input((m.size(11, 14), m.size(11, 13), m.one(4, 8)))
    x = L.ZeroPadding2D(m.one((1, 2), ((1, 0), (2, 1))))(i)
    x = L.Conv2D(
        4 * m.size(1, 4), 3, dilation_rate=m.one(1, 2, (1, 3)), padding=m.one("same", "valid"), activation=act
    )(x)
    x = m.norm(L.Conv2D(4 * m.size(1, 3), m.one(1, 3, (3, 2)), groups=groups, use_bias=m.one(True, False))(x))
    x = L.SpatialDropout2D(0.1)(L.GaussianNoise(0.1)(m.active(x)))
    x = L.DepthwiseConv2D(3, dilation_rate=m.one(1, 2), padding=m.one("same", "valid"))(x)
    x = m.active(m.norm(x))
    x = m.one(L.AveragePooling2D, L.MaxPooling2D)(
        m.one(2, (2, 1)), padding=m.one("same", "valid"), strides=m.one(None, 1, 2)
    )(x)
    x = L.GlobalAveragePooling2D(keepdims=m.one(True, False))(x)
    return keras.Model(i, L.Dense(3, activation=m.one(L.Softmax(), "softmax"))(L.Flatten()(x)))


def fixed_batch(m: Maker) -> Any:
    """A batch of one size: dense layers on sequences need no RESHAPE there."""
    i = keras.Input((m.size(2, 9), m.size(3, 30)), batch_size=m.one(1, 1, 3))
    x = i
    for _ in range(m.size(1, 3)):
        x = L.Dense(m.size(2, 24), activation=m.one(None, "relu", "tanh"), use_bias=m.one(True, True, False))(x)
        x = m.one(lambda x: x, m.norm, lambda x: L.ReLU()(m.norm(x)))(x)
    x = L.Flatten()(x) if m.one(True, False) else L.Reshape((-1,))(x)
    return keras.Model(i, m.norm(L.Dense(m.size(2, 8))(x)))


def dilated(m: Maker) -> Any:
    """Convolutions with dilation, which become SPACE_TO_BATCH_ND, a plain convolution and BATCH_TO_SPACE_ND."""
    i = keras.Input((m.size(9, 14), m.size(9, 14), m.size(1, 5)), batch_size=m.one(None, None, 1, 2))
    x = i
    for _ in range(m.size(1, 3)):
        rate = m.one((2, 2), (1, 2), (3, 1))
        more = {"padding": m.one("same", "same", "valid"), "dilation_rate": rate, "use_bias": m.one(True, True, False)}
        side = m.one((3, 3), (2, 3)) if more["padding"] == "same" else (2, 2)
        if m.one(True, True, False):
            x = L.Conv2D(m.size(2, 9), side, activation=m.one(None, "relu", "tanh"), **more)(x)
        else:
            x = L.DepthwiseConv2D(side, depth_multiplier=m.one(1, 2), **more)(x)
        x = m.one(lambda x: x, m.norm, lambda x: L.ReLU()(m.norm(x)))(x)
    return keras.Model(i, L.Dense(m.size(2, 6))(L.GlobalAveragePooling2D()(x)))


def stack(m: Maker) -> Any:
    """Many layers in any order, some shared: what goes into what depends on the order of the optimizer's work."""
    shape = m.one((m.size(2, 12),), (m.size(2, 5), m.size(2, 9)), (m.size(2, 4), m.size(3, 5), m.size(1, 5)))
    i = keras.Input(shape, batch_size=m.one(None, 1, 1, 2))
    x, values, layers = i, [i], []
    for _ in range(m.size(8, 25)):
        size = int(np.prod(x.shape[1:]))
        kinds = ["dense"] * 3 + ["norm"] * 3 + ["active"] * 2 + ["flat", "reshape", "drop", "softmax", "join", "again"]
        kind = m.one(*kinds, *(["image", "image", "pad"] if len(x.shape) == 4 else []))
        if kind == "dense":
            layers.append(
                (L.Dense(m.size(1, 10), activation=m.one(None, None, "relu"), use_bias=m.one(True, True, False)), x)
            )
            x = layers[-1][0](x)
        elif kind == "image":
            x = picture(m, x)
        elif kind == "pad" and size < 200:
            x = L.ZeroPadding2D(m.one(1, ((1, 0), (0, 1))))(x)
        elif kind == "reshape":
            width = m.one(*(n for n in range(1, size + 1) if size % n == 0))
            x = L.Reshape(m.one((width, size // width), (-1, width), (1, size // width, width)))(x)
        elif kind == "join":
            x = join(m, x, values)
        elif kind == "again":  # a dense layer once more, on something else of its width
            fits = [layer for layer, source in layers if source.shape[-1] == x.shape[-1]]
            x = m.one(*fits)(x) if fits else x
        else:
            plain = {
                "norm": m.norm,
                "active": m.active,
                "flat": L.Flatten(),
                "drop": L.Dropout(0.1),
                "softmax": L.Softmax(),
            }
            x = plain[kind](x) if kind in plain else x
        values.append(x)
    x = m.norm(L.Dense(m.size(1, 6))(x))
    return keras.Model(i, m.one(x, x, [x, L.ReLU()(m.one(*values))]))


def picture(m: Maker, x: Any) -> Any:
    """A convolution or a pool that keeps height and width."""
    kind = m.size(0, 2)
    if kind == 0:
        return L.Conv2D(m.size(1, 8), m.one(1, 2, 3), padding="same", use_bias=m.one(True, False))(x)
    if kind == 1:
        return L.DepthwiseConv2D(m.one(1, 3), padding="same", use_bias=m.one(True, False))(x)
    return m.one(L.AveragePooling2D, L.MaxPooling2D)(2, strides=1, padding="same")(x)


def join(m: Maker, x: Any, values: list[Any]) -> Any:
    """The sum of two values of one shape, or both beside each other."""
    other = m.one(*(value for value in values if value.shape == x.shape), x)
    if other is x:
        return x
    return L.Add()([x, other]) if x.shape[-1] > 12 or m.one(True, False) else L.Concatenate()([other, x])


WILD = (wild,)  # seeds from 8000 on
STACKS = (stack,)  # seeds from 5000 on
WIRED = (shared, nested, several_outputs, options, fixed_batch)  # seeds from 3000 on
DILATED = (dilated,)  # seeds from 4000 on
DEEP = (mobilenet, deep_mlp)  # seeds from 2000 on
FAMILIES = (mlp, lenet, ds_cnn, autoencoder, residual, dense_3d)


def train(model: Any, random: np.random.Generator, zeros: float) -> None:
    """Weights as training leaves them. `zeros`: how often a bias stays at its start."""
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            name, shape = weight.name.split("/")[-1].split(":")[0], tuple(weight.shape)
            if name == "moving_variance":
                value = np.exp(random.normal(0, 2, shape))
            elif name in ("bias", "beta", "moving_mean") and zeros and random.random() < zeros:
                value = np.zeros(shape)
            else:
                depth = max(int(np.prod(shape[:-1])), 1)
                value = random.normal(float(name == "gamma"), 1 / np.sqrt(depth) if len(shape) > 1 else 0.3, shape)
            values.append(value.astype(np.float32))
        if values:
            layer.set_weights(values)


def convert(model: Any, samples: list[list[np.ndarray[Any, Any]]], calibrate_only: bool) -> bytes:
    """The int8 file, or the float file with ranges."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter(samples)
    converter._experimental_calibrate_only = calibrate_only
    return bytes(converter.convert())


def family_of(seed: int) -> Callable[[Maker], Any]:
    """What makes the model of a seed."""
    first = {8000: WILD, 5000: STACKS, 4000: DILATED, 3000: WIRED, 2000: DEEP, 0: FAMILIES}
    families = next(families for start, families in first.items() if seed >= start)
    return families[seed % len(families)]


def main() -> None:
    """Make and convert the models of some seeds."""
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for seed in range(int(sys.argv[2]), int(sys.argv[3])):
        keras.backend.clear_session()
        family = family_of(seed)
        name = str(target / f"{family.__name__}_{seed}")
        maker = Maker(seed)
        model = family(maker)
        train(model, maker.random, zeros=0.6 if 1000 <= seed < 2000 or seed >= 5000 else float(seed % 11 == 5))
        model.save(name + (".keras" if seed % 3 else ".h5"))
        shapes = [(tensor.shape[0] or 1, *tensor.shape[1:]) for tensor in model.inputs]
        samples: Any = [[maker.random.normal(0, 1, shape).astype(np.float32) for shape in shapes] for _ in range(4)]
        if seed >= 8000 and len(shapes) > 1:  # the file has its inputs in another order than the model
            names = [tensor.name.partition(":")[0] for tensor in model.inputs]
            samples = [dict(zip(names, sample, strict=True)) for sample in samples]
        try:
            if seed < 1000:  # the others' float graph is that of the file with ranges
                Path(name + ".float.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
            Path(name + ".ranges.tflite").write_bytes(convert(model, samples, True))
            often = 2 if seed >= 8000 else 5
            if seed < 5000 or seed % often == 0:  # the int8 file follows from the other one; stacks are many
                Path(name + ".int8.tflite").write_bytes(convert(model, samples, False))
        except Exception as error:  # the converter makes models of some stacks that it cannot read itself
            Path(name + ".error").write_text(f"{type(error).__name__}: {error}")
        print(tf.__version__, name, flush=True)


if __name__ == "__main__":
    main()
