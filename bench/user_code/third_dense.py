"""A third set, dense layers: classes, closures, partials, loops over one element; before `diagnose` was run on them."""

import functools
import math
from collections import namedtuple

import numpy as np

from .case import RIGHT, Case


class QuantLinear:
    """As a class of a deep-learning framework: made once, called with a batch."""

    def __init__(self, p):
        self.weight_int8 = p["weights"]
        self.bias_int32 = p["bias"]
        self.in_zp, self.out_zp = p["zx"], p["zy"]
        self.requant_scale = p["input_scale"] * p["weights_scale"] / p["output_scale"]

    def forward(self, x):
        """One batch."""
        acc = x.astype(np.int32) @ self.weight_int8.astype(np.int32).T + self.bias_int32
        return np.clip(np.round(acc * self.requant_scale) + self.out_zp, -128, 127).astype(np.int8)

    def __call__(self, x):
        """As a framework calls it."""
        return self.forward(x)


def linear_module(p):
    return QuantLinear(p)


def bound_method(p):
    return QuantLinear(p | {"weights": p["weights"].copy(), "zx": 0}).forward


def _affine(offset, scale, low, high, weight, bias, x):
    y = (x.astype(np.int64) - offset[0]) @ weight.astype(np.int64).T + bias
    return np.clip(np.floor(y * scale + 0.5) + offset[1], low, high)


def partial_application(p):
    m = np.float32(p["input_scale"]) * p["weights_scale"] / np.float32(p["output_scale"])
    return functools.partial(_affine, (p["zx"], p["zy"]), m.astype(np.float64), -127, 127, p["weights"], p["bias"])


def one_liner(p):
    w, b, s = p["weights"].astype(int), p["bias"], p["input_scale"] * p["weights_scale"] / p["output_scale"]
    return lambda v: ((v.astype(int) - p["zx"]) @ w.T * s + b * s + p["zy"]).astype("int8")


def tflm_port(input_data, filter_data, bias_data, input_offset, output_offset, output_multiplier, output_shift):
    """TFLM's own names; there the input's offset is minus its zero point, which was overlooked."""
    batches, output_depth, accum_depth = len(input_data), len(filter_data), len(filter_data[0])
    output_data = [[0] * output_depth for _ in range(batches)]
    for b in range(batches):
        for out_c in range(output_depth):
            acc = 0
            for d in range(accum_depth):
                acc += int(filter_data[out_c][d]) * (int(input_data[b][d]) + int(input_offset))
            acc += int(bias_data[out_c])
            q, shift = int(np.atleast_1d(output_multiplier)[0]), int(np.atleast_1d(output_shift)[0])
            total = 31 - shift
            acc = (acc * q + (1 << (total - 1))) >> total
            output_data[b][out_c] = max(-128, min(127, acc + int(output_offset)))
    return output_data


def verilog_model(din, wgt, bias, zp_i, zp_o, mult, rshift):
    """A 48-bit product and one arithmetic shift, no rounding constant, saturation at the end."""
    acc = (din.astype(np.int64) - zp_i) @ wgt.astype(np.int64).T + bias
    n = 31 - np.atleast_1d(np.asarray(rshift, np.int64))
    prod = acc * np.atleast_1d(np.asarray(mult, np.int64))
    return np.clip((prod >> n) + zp_o, -128, 127)


def mac_with_16_bit_dsp(din, wgt, bias, zp_i, zp_o, m):
    """Multiplier of 18 bits, as a DSP slice takes it: 17 bits and a sign."""
    frac, exp = np.frexp(np.atleast_1d(m).astype(np.float64))
    k = np.round(frac * 2**17).astype(np.int64)
    acc = (din.astype(np.int64) - zp_i) @ wgt.astype(np.int64).T + bias
    s = 17 - exp.astype(np.int64)
    return np.clip(((acc * k + (1 << (s - 1))) >> s) + zp_o, -128, 127).astype(np.int8)


def dequantize_matmul_quantize(x, w, b, s_x, z_x, s_w, s_y, z_y):
    xf = s_x * (x.astype(np.float32) - z_x)
    wf = np.atleast_1d(s_w)[:, None] * w.astype(np.float32)
    yf = xf @ wf.T + np.atleast_1d(s_w) * b
    return np.clip(np.round(yf / s_y) + z_y, -128, 127).astype(np.int8)


def forgot_to_divide(x, w, b, s_x, z_x, s_w, s_y, z_y):
    acc = (x.astype(np.int32) - z_x) @ w.T.astype(np.int32) + b
    return np.clip(np.round(acc * (s_x * s_w)) + z_y, -128, 127).astype(np.int8)


def multiplied_instead(x, w, b, s_x, z_x, s_w, s_y, z_y):
    acc = (x.astype(np.int32) - z_x) @ w.T.astype(np.int32) + b
    return np.clip(np.round(acc * (s_x * s_w * s_y)) + z_y, -128, 127).astype(np.int8)


def in_place(x, w, b, zx, zy, m):
    """Works in the caller's array where it can, and prints as it goes."""
    x = x.astype(np.int16)
    x -= zx
    out = np.empty((x.shape[0], w.shape[0]), np.int32)
    np.matmul(x.astype(np.int32), w.astype(np.int32).T, out=out)
    out += b
    real = out * np.asarray(m, np.float32)
    np.trunc(real, out=real)
    real += zy
    np.clip(real, -128, 127, out=real)
    return real


def single_sample(x, w, b, zx, zy, m):
    """A vector in, a vector out; one sum for each unit."""
    assert np.ndim(x) == 1, "one sample, please"
    y = []
    for unit in range(len(w)):
        acc = sum((int(a) - zx) * int(c) for a, c in zip(x, w[unit], strict=True)) + int(b[unit])
        y.append(max(-128, min(127, math.floor(acc * float(np.atleast_1d(m)[0])) + zy)))
    return y


def relu_after_requantize(x, w, b, zx, zy, m):
    acc = (x.astype(np.int32) - zx) @ w.T.astype(np.int32) + b
    q = np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)
    return np.where(q > 0, q, 0)


def two_s_complement_by_hand(x, w, b, zx, zy, m):
    """The input bytes are read as unsigned, then shifted by 128 with the zero point."""
    acc = (x.view(np.uint8).astype(np.int32) - zx) @ w.T.astype(np.int32) + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def weights_forgot_transpose(x, w, b, zx, zy, m):
    acc = (x.astype(np.int32) - zx) @ w.reshape(w.shape[1], w.shape[0]).astype(np.int32) + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


Layer = namedtuple("Layer", "w b zx zy m")


def tuple_of_numbers(p):
    m = np.float64(p["input_scale"]) * np.float64(p["weights_scale"]) / np.float64(p["output_scale"])
    layer = Layer(p["weights"].tolist(), [int(v) for v in p["bias"]], p["zx"], p["zy"], m.tolist())

    def evaluate(batch):
        out = []
        for sample in batch.tolist():
            row = []
            for o, weights in enumerate(layer.w):
                acc = layer.b[o]
                for k, weight in enumerate(weights):
                    acc += (sample[k] - layer.zx) * weight
                row.append(min(127, max(-128, round(acc * layer.m[o % len(layer.m)]) + layer.zy)))
            out.append(row)
        return out

    return evaluate


def int16_rounded_half_up(x, w, b, m):
    acc = x.astype(np.int64) @ w.astype(np.int64).T + b
    return np.clip(np.floor(acc * np.asarray(m, np.float64) + 0.5), -32767, 32767).astype(np.int16)


def uint8_bias_in_wrong_place(x, w, bias, zx, zw, zy, m):
    acc = (x.astype(np.int32) - zx) @ (w.astype(np.int32) - zw).T
    return np.clip(np.rint(acc * m) + bias + zy, 0, 255).astype(np.uint8)


def uint8_clip_before_offset(x, w, bias, zx, zw, zy, m):
    acc = (x.astype(np.int32) - zx) @ (w.astype(np.int32) - zw).T + bias
    return (np.clip(np.rint(acc * m), 0, 255) + zy).clip(0, 255).astype(np.uint8)


FORUM = "https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089"
TF = "https://github.com/tensorflow/tensorflow/issues/"
CMSIS = "https://github.com/ARM-software/CMSIS-NN/issues/"
PYRTLNET = "https://github.com/UCSBarchlab/pyrtlnet/issues/6"

CASES = [
    Case(linear_module, "fc", ("input_zero_point_missing",), FORUM, made=True),
    Case(
        bound_method, "fc_channels", ("input_zero_point_missing",), FORUM, made=True,
        why="The zero point was thought to be folded into the bias, which it is not.",
    ),
    Case(
        partial_application, "fc", ("clamp_to_minus_127",), TF + "58987", made=True,
        why="The output is clamped to -127 to 127 (a made-up name).",
        also=(("clamp_symmetric",),),
    ),
    Case(
        one_liner, "fc", ("truncated_after_zero_point", "output_wraps"), FORUM, made=True,
        why="The sum with the zero point is cast to int8: truncated, and wraps.",
        also=(("truncated_after_zero_point", "clamp_missing"),),
    ),
    Case(
        tflm_port, "fc_channels", ("input_zero_point_added", "scales_first_for_all"), TF + "49937",
        "The offset is minus the zero point in the code that was copied; the first unit's multiplier is used for all.",
        also=(("scales_first_for_all",),),  # `input_offset` is given as TFLM gives it, so nothing is wrong with it
    ),
    Case(verilog_model, "fc", ("rounding_floor",), PYRTLNET),
    Case(mac_with_16_bit_dsp, "fc", ("multiplier_18_bits",), PYRTLNET, "18 bits with the sign (a made-up name).",
         also=(("multiplier_17_bits",), ("factor_24_fraction_bits",))),  # here the same number
    Case(
        dequantize_matmul_quantize, "fc", ("bias_in_weights_scale",), FORUM,
        also=(("bias_dequantized_by_weights_scale",),),  # the other way round: not quantized, dequantized by one scale
    ),
    Case(forgot_to_divide, "fc", ("output_scale_missing",), FORUM),
    Case(
        multiplied_instead, "fc", ("multiplied_by_output_scale",), FORUM,
        "Multiplied by the output scale, not divided by it (a made-up name).",
        also=(("output_scale_multiplied",),),
    ),
    Case(in_place, "fc_far", ("rounding_truncated",), FORUM),
    Case(single_sample, "fc", ("rounding_floor",), PYRTLNET),
    Case(relu_after_requantize, "fc_relu", ("activation_without_zero_point",), TF + "53763"),
    Case(two_s_complement_by_hand, "fc", ("input_as_uint8",), FORUM, "The input's bytes are unsigned.",
         also=(("input_wrong_signedness",),)),
    Case(weights_forgot_transpose, "fc", ("weights_as_in_out",), FORUM),
    Case(tuple_of_numbers, "fc_channels", RIGHT, PYRTLNET, made=True),
    Case(int16_rounded_half_up, "fc_16x8", ("clamp_to_minus_32767",), CMSIS + "184",
         "Clamped to -32767 (a made-up name); a half is rounded up, as some runtimes do.",
         also=(("clamp_symmetric",), RIGHT)),
    Case(uint8_bias_in_wrong_place, "fc_u8", ("bias_after_scaling",), TF + "62640"),
    Case(uint8_clip_before_offset, "fc_u8", ("clamp_before_zero_point",), TF + "62640",
         "Clamped before the zero point is added (a made-up name).",
         also=(("relu_that_is_not_there",),)),  # the same numbers
]  # fmt: skip
