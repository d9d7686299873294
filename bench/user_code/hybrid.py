"""Dense layers with float32 activations and int8 or int4 weights."""

import numpy as np

from .case import RIGHT, Case


def dequantizes_the_weights(x, weights, bias, scale):
    w = weights.astype(np.float32) * scale.reshape(-1, 1)
    return x @ w.T + bias


def dynamic_range(x, weights, bias, w_scale):
    out = np.zeros((len(x), len(weights)), np.float32)
    for i, row in enumerate(x):
        s = np.float32(np.max(np.abs(row))) / np.float32(127)
        q = np.clip(np.round(row / s), -127, 127).astype(np.int32)
        acc = weights.astype(np.int32) @ q
        out[i] = acc.astype(np.float32) * (s * w_scale) + bias
    return out


def one_scale_for_the_batch(x, weights, bias, w_scale):
    s = np.max(np.abs(x)) / np.float32(127)
    q = np.clip(np.round(x / s), -127, 127).astype(np.int32)
    acc = q @ weights.astype(np.int32).T
    return acc.astype(np.float32) * (s * w_scale) + bias


def casts_the_quantized_row(x, weights, bias, w_scale):
    s = np.max(np.abs(x), axis=1, keepdims=True) / np.float32(127)
    q = (x / s).astype(np.int8).astype(np.int32)
    acc = q @ weights.astype(np.int32).T
    return acc.astype(np.float32) * (s * w_scale) + bias


def divides_by_128(x, weights, bias, w_scale):
    s = np.max(np.abs(x), axis=1, keepdims=True) / np.float32(128)
    q = np.clip(np.round(x / s), -128, 127).astype(np.int32)
    acc = q @ weights.astype(np.int32).T
    return acc.astype(np.float32) * (s * w_scale) + bias


def forgets_the_input_scale(x, weights, bias, w_scale):
    s = np.max(np.abs(x), axis=1, keepdims=True) / np.float32(127)
    q = np.clip(np.round(x / s), -127, 127).astype(np.int32)
    return (q @ weights.astype(np.int32).T).astype(np.float32) * w_scale + bias


def no_bias(x, weights, w_scale):
    y = np.zeros((len(x), len(weights)))
    for i in range(len(x)):
        for o in range(len(weights)):
            for k in range(len(x[i])):
                y[i, o] += x[i, k] * (weights[o, k] * w_scale[o % len(w_scale)])
    return y


def one_scale_for_all_units(x, weights, bias, w_scale):
    return x @ (weights.astype(np.float32) * w_scale[0]).T + bias


def int4_sign_and_magnitude(x, weights, w_scale):
    n = weights.astype(np.uint8) & 15
    w = np.where(n > 7, -(n & 7).astype(np.float32), n & 7)
    return x @ (w * w_scale.reshape(-1, 1)).astype(np.float32).T


def weights_never_scaled(x, weights, bias):
    return x @ weights.astype(np.float32).T + bias


HYBRID = "https://github.com/tensorflow/tflite-micro/issues/757"
QUESTION = "https://github.com/tensorflow/tensorflow/issues/62116"
DYNAMIC = "https://github.com/tensorflow/tensorflow/issues/38781"

CASES = [
    Case(
        dequantizes_the_weights, "hybrid", ("hybrid_input_not_quantized",), HYBRID,
        "The weights become real numbers; runtimes quantize the input.",
        also=(RIGHT, ("calculated_in_real_numbers",), ("calculated_in_real_numbers_float64",)),
    ),
    Case(dynamic_range, "hybrid_channels", RIGHT, QUESTION),
    Case(
        one_scale_for_the_batch, "hybrid", ("hybrid_scale_of_whole_batch",), QUESTION,
        "One input scale for all rows; each row has its own.",
    ),
    Case(
        casts_the_quantized_row, "hybrid", ("hybrid_input_truncated",), DYNAMIC,
        "The quantized input is cast; it must be rounded.",
    ),
    Case(
        divides_by_128, "hybrid", ("hybrid_scale_over_128",), DYNAMIC,
        "The largest value is divided by 128; it is 127.",
    ),
    Case(
        forgets_the_input_scale, "hybrid_channels", ("input_scale_missing",), HYBRID,
        also=(("hybrid_input_scale_missing",),),
    ),
    Case(
        no_bias, "hybrid", ("hybrid_input_not_quantized", "bias_missing"), "https://github.com/tensorflow/tensorflow/issues/57226",
        "Real-valued weights, no bias.",
        also=(("bias_missing",), ("hybrid_input_not_quantized", "hybrid_bias_missing")),
    ),
    Case(
        one_scale_for_all_units, "hybrid_channels", ("hybrid_input_not_quantized", "scales_first_for_all"), HYBRID,
        "Real-valued weights, scale[0] for all.",
        also=(("scales_first_for_all",), ("hybrid_input_not_quantized", "hybrid_scales_first_for_all")),
    ),
    Case(
        int4_sign_and_magnitude, "hybrid_int4", ("hybrid_input_not_quantized", "weights_int4_sign_magnitude"),
        "https://github.com/Samsung/ONE/issues/12801", "Real-valued weights, nibbles read as sign and magnitude.",
        also=(("weights_int4_sign_magnitude",),),
    ),
    Case(
        weights_never_scaled, "hybrid", ("hybrid_input_not_quantized", "weights_scale_missing"),
        "https://github.com/tensorflow/tensorflow/issues/57226", "Real-valued input, weights not scaled.",
        also=(("weights_scale_missing",), ("hybrid_input_not_quantized", "hybrid_weights_scale_missing")),
    ),
]  # fmt: skip
