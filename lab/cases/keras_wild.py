"""Random Keras models with the options of every covered layer: branches, shared layers, several inputs and outputs.

keras_models.py makes and converts them, seeds from 8000 on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

keras = tf.keras
L = keras.layers
_LARGEST = 600  # values a sample
_WIDEST = 40  # channels


class Wild:
    """A model while it grows.

    Attributes:
        m: where random sizes and choices come from.
        values: what was calculated so far.
        used: layers with weights, each with the shape that it was made for.
    """

    def __init__(self, m: Any) -> None:
        self.m = m
        self.values: list[Any] = []
        self.used: list[tuple[Any, tuple[int, ...]]] = []

    def name(self) -> Any:
        """What a layer's `activation` says."""
        names = [None, None, None, "linear", "relu", "relu", "tanh", "sigmoid", "softmax", tf.nn.relu6, tf.nn.relu]
        return self.m.one(*names, L.ReLU(), L.ReLU(6.0), L.LeakyReLU(0.1))

    def fresh(self, layer: Any, x: Any) -> Any:
        """A new layer, which can be used again."""
        self.used.append((layer, tuple(x.shape[1:])))
        return layer(x)

    def dense(self, x: Any) -> Any:
        """Dense on any number of dimensions."""
        units = self.m.one(1, self.m.size(2, 7), self.m.size(8, 24))
        return self.fresh(L.Dense(units, activation=self.name(), use_bias=self.m.one(True, True, False)), x)

    def norm(self, x: Any) -> Any:
        """Batch normalization."""
        m = self.m
        options = {"epsilon": m.one(1e-3, 1e-5, 0.1), "center": m.one(True, True, False)}
        options |= {
            "scale": m.one(True, True, False),
            "axis": m.one(-1, -1, len(x.shape) - 1) if x.shape[0] is None else -1,
        }
        return self.fresh(L.BatchNormalization(**options), x)

    def active(self, x: Any) -> Any:
        """An activation as a layer."""
        slope = self.m.one(0.01, 0.25, 0.3)
        kinds = [L.ReLU(), L.ReLU(), L.ReLU(6.0), L.ReLU(negative_slope=slope), L.LeakyReLU(slope), L.LeakyReLU()]
        return self.m.one(*kinds, *map(L.Activation, ("relu", "sigmoid", "tanh", "softmax", tf.nn.relu6)))(x)

    def shape(self, x: Any) -> Any:
        """Flatten, Reshape, Dropout."""
        size = int(np.prod(x.shape[1:]))
        width = self.m.one(*(n for n in range(1, size + 1) if size % n == 0))
        targets = ((width, size // width), (-1, width), (1, size // width, width), (size,), (1, 1, size))
        return self.m.one(L.Flatten(), L.Reshape(self.m.one(*targets)), L.Dropout(0.2))(x)

    def image(self, x: Any) -> Any:
        """A layer on images with any options."""
        m = self.m
        sides = min(x.shape[1:3])
        same = {"padding": m.one("same", "valid") if sides > 4 else "same"}
        kind = m.one("conv", "conv", "depthwise", "depthwise", "pool", "pad", "mean")
        window = m.one(1, 2, 3, (1, 3), (3, 2))
        more = {
            "activation": self.name(),
            "use_bias": m.one(True, True, False),
            "data_format": m.one(None, "channels_last"),
        }
        if kind in ("conv", "depthwise"):
            if m.one(True, False, False) and (same["padding"] == "same" or sides > 6):
                more["dilation_rate"] = m.one(2, (1, 2), (2, 1), 2) if kind == "conv" else m.one(2, (1, 2))
                window = m.one(2, 3)
            else:
                more["strides"] = m.one(1, 1, 2, (1, 2)) if kind == "conv" else m.one(1, 1, 2)
        if kind == "conv":
            channels = x.shape[-1]
            groups = m.one(*(n for n in (1, 1, 1, 2, 3, 4) if channels % n == 0))
            return self.fresh(L.Conv2D(groups * m.size(1, 8), window, groups=groups, **same, **more), x)
        if kind == "depthwise":
            return self.fresh(L.DepthwiseConv2D(window, depth_multiplier=m.one(1, 1, 2, 3), **same, **more), x)
        if kind == "pool":
            layer = m.one(L.AveragePooling2D, L.MaxPooling2D)
            return layer(m.one(2, (2, 1), 3), strides=m.one(None, 1, 2, (2, 1)), **same)(x)
        if kind == "pad":
            return L.ZeroPadding2D(m.one(1, (1, 2), ((0, 1), (0, 1)), ((1, 0), (2, 1))))(x)
        return L.GlobalAveragePooling2D(keepdims=m.one(True, False))(x)

    def join(self, x: Any) -> Any:
        """The sum or the join of some values."""
        same = [value for value in self.values if value.shape == x.shape and value is not x]
        if same and self.m.one(True, False):
            return L.Add()([x, *(self.m.one(*same) for _ in range(self.m.one(1, 1, 2)))])
        axis = self.m.size(1, len(x.shape) - 1)
        rest = (*x.shape[:axis], *x.shape[axis + 1 :])
        fits = [v for v in self.values if len(v.shape) == len(x.shape) and v is not x]
        fits = [v for v in fits if (*v.shape[:axis], *v.shape[axis + 1 :]) == rest]
        if not fits:
            return x
        parts = [x, *(self.m.one(*fits) for _ in range(self.m.one(1, 1, 2)))]
        return L.Concatenate(axis=self.m.one(axis, axis - len(x.shape)))(parts)

    def again(self, x: Any) -> Any:
        """A layer with weights once more."""
        fits = [layer for layer, shape in self.used if shape == tuple(x.shape[1:])]
        return self.m.one(*fits)(x) if fits else self.dense(x)

    def inner(self, x: Any) -> Any:
        """A model as a layer, Sequential or functional."""
        m = self.m
        layers = [L.Dense(m.size(1, 9), activation=self.name())]
        layers.insert(m.one(0, 1), L.BatchNormalization())
        layers += m.one([], [L.ReLU()], [L.Dense(3)])
        if m.one(True, False):
            return self.fresh(keras.Sequential(layers), x)
        fed = keras.Input(tuple(x.shape[1:]), batch_size=x.shape[0])
        value = fed
        for layer in layers:
            value = layer(value)
        return self.fresh(keras.Model(fed, value), x)

    def flat(self, x: Any) -> Any:
        """As one vector."""
        if len(x.shape) == 2:
            return x
        return L.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else L.Flatten()(x)


def wild(m: Any) -> Any:
    """Layers with any options in any order."""
    run = Wild(m)
    batch = m.one(None, None, 1, 2)
    shapes = ((m.size(2, 12),), (m.size(2, 5), m.size(2, 9)), (m.size(3, 9), m.size(3, 8), m.one(1, 3, 4, 9)))
    names = ("left", "image", "other")
    fed = [keras.Input(m.one(*shapes, shapes[2]), batch_size=batch, name=name) for name in names[: m.one(1, 1, 2, 3)]]
    run.values += fed
    steps: list[Callable[[Any], Any]] = [run.dense] * 3 + [run.norm] * 4 + [run.active] * 3
    steps += [run.shape] * 2 + [run.join] * 2 + [run.again] * 2 + [run.inner]
    for number in range(m.size(7, 20)):
        x = (
            fed[number]
            if 0 < number < len(fed)
            else m.one(run.values[-1], run.values[-1], run.values[-1], m.one(*run.values))
        )
        step = m.one(*steps, *([run.image] * 9 if len(x.shape) == 4 else []))
        try:
            y = step(x)
        except (ValueError, ZeroDivisionError):
            continue
        if all(n and n > 0 for n in y.shape[1:]) and np.prod(y.shape[1:]) <= _LARGEST and y.shape[-1] <= _WIDEST:
            run.values.append(y)
    made = run.values[len(fed) :] or fed
    ends = [made[-1]] + [m.one(*made) for _ in range(m.one(0, 0, 1, 2))]
    ends = [x for number, x in enumerate(ends) if not any(x is other for other in ends[:number])]
    if len(fed) > 1:  # so that every input is used
        ends.append(L.Dense(m.size(1, 4))(L.Concatenate()([run.flat(x) for x in (*fed, ends[0])])))
    elif any(end is fed[0] for end in ends):
        ends = [L.Dense(3)(end) for end in ends]
    ends = [L.Dense(2)(x) if any(x is f for f in fed) else x for x in ends]
    return keras.Model(fed if len(fed) > 1 else fed[0], ends if len(ends) > 1 else ends[0])
