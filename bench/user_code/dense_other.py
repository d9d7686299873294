"""uint8, int16x8 and int4 dense layers."""

import numpy as np

from .case import RIGHT, Case


def gemm_without_offsets(lhs_input, weights, bias, effective_scale, output_zero_point):
    acc = lhs_input.astype(np.int32) @ weights.astype(np.int32).T + bias
    return np.clip(np.round(acc * effective_scale) + output_zero_point, 0, 255).astype(np.uint8)


def weights_minus_zero_in_uint8(x, w, bias, zx, zw, zy, m):
    wd = w - np.uint8(zw)
    acc = (x.astype(np.int32) - zx) @ wd.astype(np.int32).T + bias
    return np.clip(np.rint(acc * m) + zy, 0, 255).astype(np.uint8)


def input_minus_zero_in_uint8(x, w, bias, zx, zw, zy, m):
    acc = (x - np.uint8(zx)).astype(np.int32) @ (w.astype(np.int32) - zw).T + bias
    return np.clip(np.rint(acc * m) + zy, 0, 255).astype(np.uint8)


def clamps_like_int8(x, w, bias, zx, zw, zy, m):
    acc = (x.astype(np.int32) - zx) @ (w.astype(np.int32) - zw).T + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127)


def four_terms_but_one(x, w, bias, zx, zw, zy, m):
    x, w = x.astype(np.int64), w.astype(np.int64)
    acc = x @ w.T - zw * x.sum(axis=1, keepdims=True) - zx * w.sum(axis=1) + bias
    return np.clip(np.rint(acc * m) + zy, 0, 255).astype(np.uint8)


def uint8_right(x, w, bias, zx, zw, zy, m):
    acc = np.zeros((len(x), len(w)), np.int64)
    for i in range(len(x)):
        for j in range(len(w)):
            acc[i, j] = np.dot(x[i].astype(int) - zx, w[j].astype(int) - zw)
    return np.clip(np.floor((acc + bias) * m + 0.5) + zy, 0, 255).astype(np.uint8)


def feed_forward(X, W0, b0):
    z1 = np.dot(X.astype(np.int64), W0.T.astype(np.int64)) + b0
    return z1


def ignores_zero_point_6(x, weights, bias, zx, zy, m):
    acc = (x.astype(np.int64) - zx) @ weights.astype(np.int64).T + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def int16_in_a_c_int(x, w, b, m):
    acc = np.zeros((len(x), len(w)), np.int32)
    with np.errstate(over="ignore"):
        for k in range(w.shape[1]):
            acc += x[:, k : k + 1].astype(np.int32) * w[:, k].astype(np.int32)
        acc += b.astype(np.int32)
    y = np.floor(acc.astype(np.float64) * m + 0.5)
    return np.clip(y, -32768, 32767).astype(np.int16)


def int16_right(x, w, b, m):
    acc = x.astype(np.int64) @ w.T.astype(np.int64) + b
    return np.clip(np.floor(acc * m + 0.5), -32768, 32767).astype(np.int16)


def int16_clamped_to_int8(x, w, b, m):
    acc = x.astype(np.int64) @ w.T.astype(np.int64) + b
    return np.clip(np.floor(acc * m + 0.5), -128, 127).astype(np.int16)


def int16_truncates(x, w, b, m):
    acc = x.astype(np.int64) @ w.T.astype(np.int64) + b
    return np.clip((acc * m).astype(np.int64), -32768, 32767).astype(np.int16)


def nibbles_without_sign(x, w, b, zx, zy, m):
    nibbles = (w.astype(np.uint8) & 15).astype(np.int32)
    acc = (x.astype(np.int32) - zx) @ nibbles.T + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def nibbles_sign_and_magnitude(x, w, b, zx, zy, m):
    bits = w.astype(np.uint8) & 15
    signed = np.where(bits & 8, -(bits & 7).astype(np.int32), bits & 7)
    acc = (x.astype(np.int32) - zx) @ signed.T + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


SO = "https://stackoverflow.com/questions/53420994"

CASES = [
    Case(
        gemm_without_offsets, "fc_u8", ("input_zero_point_missing", "weights_zero_point_missing"),
        "https://github.com/google/gemmlowp/issues/144",
    ),
    Case(weights_minus_zero_in_uint8, "fc_u8", ("weights_minus_zero_point_wraps_uint8",), SO),
    Case(
        input_minus_zero_in_uint8, "fc_u8", ("input_minus_zero_point_wraps_uint8",),
        "https://github.com/pytorch/pytorch/issues/63769",
    ),
    Case(
        clamps_like_int8, "fc_u8", ("clamp_of_the_other_type",),
        "https://github.com/tensorflow/tensorflow/issues/44215",
    ),
    Case(four_terms_but_one, "fc_u8", ("cross_term_missing",), "https://github.com/microsoft/onnxruntime/issues/7524"),
    Case(uint8_right, "fc_u8", RIGHT, "https://github.com/pytorch/pytorch/issues/63769"),
    Case(
        feed_forward, "fc_u8_relu", ("weights_zero_point_missing", "requantization_missing"), SO,
        "Neither zero points nor requantization; the input's zero point is 0, and there is no ReLU.",
        also=(("weights_zero_point_missing", "requantization_missing", "activation_missing"),),
    ),
    Case(
        ignores_zero_point_6, "fc_zp6", ("weights_zero_point_missing",),
        "https://github.com/tensorflow/tensorflow/issues/51853",
        also=(RIGHT,), why="Runtimes with this fault exist: right for them.",
    ),
    Case(
        int16_in_a_c_int, "fc_16x8", ("sum_wraps_int32",), "https://github.com/tensorflow/tflite-micro/issues/3597",
    ),
    Case(int16_right, "fc_16x8", RIGHT, "https://github.com/tensorflow/tflite-micro/pull/3598"),
    Case(int16_clamped_to_int8, "fc_16x8", ("clamp_of_the_other_type",), "https://github.com/tensorflow/tensorflow/issues/58987",
         "The output is clamped to int8's range; it is int16.", also=(("clamp_to_int8",),)),
    Case(int16_truncates, "fc_16x8", ("rounding_truncated",), "https://github.com/tensorflow/tensorflow/issues/58987"),
    Case(nibbles_without_sign, "fc_int4", ("weights_int4_unsigned",), "https://github.com/Samsung/ONE/issues/12801"),
    Case(
        nibbles_sign_and_magnitude, "fc_int4", ("weights_int4_sign_magnitude",),
        "https://github.com/Samsung/ONE/issues/12801",
    ),
]  # fmt: skip
