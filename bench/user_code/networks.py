"""Whole small networks. Each maker gets the file's layers in order and gives the function that is diagnosed.

A layer is a dict: weights, bias, input_scale, weights_scale, output_scale, zx, zy.
"""

import numpy as np

from .case import RIGHT, Case


def _acc(x, p):
    return (x.astype(np.int64) - p["zx"]) @ p["weights"].astype(np.int64).T + p["bias"]


def _m(p):
    return np.float64(p["input_scale"]) * p["weights_scale"].astype(np.float64) / np.float64(p["output_scale"])


def three_layers_truncated(layers):
    def predict(x):
        for i, p in enumerate(layers):
            y = (_acc(x, p) * _m(p)).astype(int) + p["zy"]
            low = p["zy"] if i < 2 else -128
            x = np.clip(y, low, 127).astype(np.int8)
        return x

    return predict


def three_layers_right(layers):
    def predict(x):
        for i, p in enumerate(layers):
            y = np.rint(_acc(x, p).astype(np.float32) * _m(p).astype(np.float32)) + p["zy"]
            x = np.clip(y, p["zy"] if i < 2 else -128, 127).astype(np.int8)
        return x

    return predict


def relu_before_requantization(layers):
    """Right: a ReLU on the accumulator is the same as one at the zero point."""

    def predict(x):
        first, second, third = layers
        a1 = np.maximum(_acc(x, first), 0)
        a1 = np.clip(np.floor(a1 * _m(first) + 0.5) + first["zy"], -128, 127).astype(np.int8)
        a2 = np.maximum(_acc(a1, second), 0)
        a2 = np.clip(np.floor(a2 * _m(second) + 0.5) + second["zy"], -128, 127).astype(np.int8)
        return np.clip(np.floor(_acc(a2, third) * _m(third) + 0.5) + third["zy"], -128, 127).astype(np.int8)

    return predict


def all_steps_in_a_dict(layers):
    def predict(x):
        steps = {}
        for i, p in enumerate(layers):
            acc = x.astype(np.int64) @ p["weights"].astype(np.int64).T + p["bias"]
            y = np.clip(np.rint(acc * _m(p)) + p["zy"], p["zy"] if i < 2 else -128, 127)
            x = y.astype(np.int8)
            steps[f"dense_{i}"] = x
        return steps

    return predict


def middle_layer_without_bias(layers):
    def predict(x):
        for i, p in enumerate(layers):
            acc = _acc(x, p)
            if i == 1:
                acc = acc - p["bias"]
            x = np.clip(np.rint(acc * _m(p)) + p["zy"], p["zy"] if i < 2 else -128, 127).astype(np.int8)
        return x

    return predict


def relu_at_zero_everywhere(layers):
    def predict(x):
        for i, p in enumerate(layers):
            y = np.clip(np.rint(_acc(x, p) * _m(p)) + p["zy"], -128, 127)
            if i < 2:
                y = np.maximum(y, 0)
            x = y.astype(np.int8)
        return x

    return predict


def last_layer_floors(layers):
    def predict(img):
        x = img.reshape(-1, layers[0]["weights"].shape[1])
        for i, p in enumerate(layers):
            v = _acc(x, p) * _m(p)
            y = (np.rint(v) if i < 2 else np.floor(v)) + p["zy"]
            x = np.clip(y, p["zy"] if i < 2 else -128, 127).astype(np.int8)
        return x

    return predict


def cnn_flattens_channels_first(layers):
    conv, dense = layers

    def predict(x):
        n, h, w, _ = x.shape
        padded = np.pad(x.astype(np.int64) - conv["zx"], ((0, 0), (1, 1), (1, 1), (0, 0)))
        acc = np.zeros((n, h, w, len(conv["weights"])), np.int64)
        for ky in range(3):
            for kx in range(3):
                kernel = conv["weights"][:, ky, kx, :].astype(np.int64)
                acc += padded[:, ky : ky + h, kx : kx + w] @ kernel.T
        y = np.rint((acc + conv["bias"]) * _m(conv)) + conv["zy"]
        y = np.clip(y, conv["zy"], 127).astype(np.int8)
        flat = y.transpose(0, 3, 1, 2).reshape(n, -1)
        return np.clip(np.rint(_acc(flat, dense) * _m(dense)) + dense["zy"], -128, 127).astype(np.int8)

    return predict


def cnn_pads_with_zero(layers):
    conv, dense = layers

    def predict(x):
        n, h, w, _ = x.shape
        padded = np.pad(x.astype(np.int64), ((0, 0), (1, 1), (1, 1), (0, 0))) - conv["zx"]
        acc = np.zeros((n, h, w, len(conv["weights"])), np.int64)
        for ky in range(3):
            for kx in range(3):
                acc += padded[:, ky : ky + h, kx : kx + w] @ conv["weights"][:, ky, kx, :].astype(np.int64).T
        y = np.rint((acc + conv["bias"]) * _m(conv)) + conv["zy"]
        y = np.clip(y, conv["zy"], 127).astype(np.int8)
        flat = y.reshape(n, -1)
        return np.clip(np.rint(_acc(flat, dense) * _m(dense)) + dense["zy"], -128, 127).astype(np.int8)

    return predict


PYRTLNET = "https://github.com/UCSBarchlab/pyrtlnet/issues/6"
SO = "https://stackoverflow.com/questions/53420994"
TF = "https://github.com/tensorflow/tensorflow/issues/"

CASES = [
    Case(three_layers_truncated, "mlp", ("rounding_truncated",), TF + "62640", "In all three dense layers.", made=True),
    Case(three_layers_right, "mlp", RIGHT, PYRTLNET, made=True),
    Case(relu_before_requantization, "mlp", RIGHT, PYRTLNET, made=True),
    Case(
        all_steps_in_a_dict, "mlp", ("input_zero_point_missing",), SO, "In all three layers; each step is given.",
        made=True,
    ),
    Case(middle_layer_without_bias, "mlp", ("bias_missing",), SO, "In the second layer alone.", made=True),
    Case(
        relu_at_zero_everywhere, "mlp", ("activation_without_zero_point",), TF + "49937", "In both with a ReLU.",
        made=True,
    ),
    Case(last_layer_floors, "mlp", ("rounding_floor",), PYRTLNET, "In the last layer alone.", made=True),
    Case(
        cnn_flattens_channels_first, "cnn", ("input_channels_first",), "https://github.com/nntrainer/nntrainer/issues/1973",
        "In the dense layer, after a RESHAPE.", made=True,
    ),
    Case(
        cnn_pads_with_zero, "cnn", ("padding_zero",), TF + "53370", "In the convolution: 0 for the zero point.",
        made=True,
    ),
]  # fmt: skip
