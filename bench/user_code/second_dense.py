"""A second set, dense layers: written after the first set was answered, before `diagnose` was run on any of them."""

import math

import numpy as np

from .case import RIGHT, Case


def accumulator_with_ssat(x, w, b, zx, zy, m):
    # every multiply-accumulate saturates at 16 bits, as __SSAT(acc, 16) does
    acc = np.zeros((len(x), len(w)), np.int64)
    for k in range(w.shape[1]):
        acc = np.clip(acc + np.outer(x[:, k].astype(int) - zx, w[:, k].astype(int)), -32768, 32767)
    return np.clip(np.rint((acc + b) * m) + zy, -128, 127).astype(np.int8)


def q15_constant(x, w, b, zx, zy, m):
    mult = round(float(np.atleast_1d(m)[0]) * 32768)
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + b
    y = (acc.astype(np.int64) * mult + (1 << 14)) >> 15
    return np.clip(y + zy, -128, 127).astype(np.int8)


def cmsis_s16_requantize(x, w, b, zx, zy, multiplier, shift):
    mult, sh = np.asarray(multiplier), np.asarray(shift)
    reduced = (mult + 0x8000) >> 16
    acc = (x.astype(np.int64) - zx) @ w.astype(np.int64).T + b
    total = 15 - sh
    y = (acc * reduced + (1 << (total - 1))) >> total
    return np.clip(y + zy, -128, 127).astype(np.int8)


def one_shift_too_few(x, w, b, zx, zy, m):
    out = []
    for u in range(len(w)):
        f, s = float(np.broadcast_to(m, len(w))[u]), 0
        while f < 0.5:
            f, s = f * 2, s + 1
        q = round(f * 2**31)
        acc = sum((int(v) - zx) * int(k) for v, k in zip(x, w[u], strict=True)) + int(b[u])
        y = (acc * q + (1 << (29 + s))) >> (30 + s)
        out.append(min(127, max(-128, y + zy)))
    return np.array(out, np.int8)


def scales_with_three_decimals(x, w, b, zx, zy, s_x, s_w, s_y):
    f = round(float(s_x), 3) * np.round(s_w.astype(np.float64), 3) / round(float(s_y), 3)
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + b
    return np.clip(np.rint(acc * f) + zy, -128, 127).astype(np.int8)


def factor_with_three_digits(x, w, b, zx, zy, m):
    f = np.array([float(f"{v:.2e}") for v in np.atleast_1d(m)])
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + b
    return np.clip(np.rint(acc * f) + zy, -128, 127).astype(np.int8)


def result_in_half(x, w, b, zx, zy, s_x, s_w, s_y):
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + b
    real = (acc * (s_x * s_w)).astype(np.float16)
    return np.clip(np.rint(real.astype(np.float32) / s_y) + zy, -128, 127).astype(np.int8)


def bias_in_the_weights_scale(x, w, b, zx, zy, s_x, s_w, s_y):
    bias_real = b * (s_x * s_w)
    bias_q = np.round(bias_real / s_w).astype(np.int32)
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + bias_q
    return np.clip(np.rint(acc * (s_x * s_w / s_y)) + zy, -128, 127).astype(np.int8)


def torch_round_of_sum(x, w, b, zx, zy, m):
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + b
    return np.clip(np.round(acc.astype(np.float32) * np.float32(m) + np.float32(zy)), -128, 127).astype(np.int8)


def relu_forgotten(x, w, b, zx, zy, m):
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + b
    return np.clip(np.floor(acc * m + 0.5) + zy, -128, 127).astype(np.int8)


def scales_along_the_depth(x, w, b, zx, zy, s_x, s_w, s_y):
    wf = w.astype(np.float64) * s_w[None, :]
    y = ((x.astype(np.float64) - zx) * s_x) @ wf.T + b * (s_x * s_w.astype(np.float64))
    return np.clip(np.rint(y / s_y) + zy, -128, 127).astype(np.int8)


def output_offset_with_wrong_sign(x, w, b, zx, zy, m):
    output_offset = -zy
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + b
    return np.clip(np.rint(acc * m) + output_offset, -128, 127).astype(np.int8)


def scaled_in_int32(x, w, b, zx, zy, m):
    mult = np.int32(round(float(np.atleast_1d(m)[0]) * 2**26))
    acc = ((x.astype(np.int32) - zx) @ w.astype(np.int32).T + b).astype(np.int32)
    prod = acc * mult  # int32 * int32 stays int32
    return np.clip(((prod + np.int32(1 << 25)) >> 26) + zy, -128, 127).astype(np.int8)


def shorts_are_enough(x, w, b, zx, zy, m):
    """Right: (x - zx) * w fits in 16 bits here, and the sum is 32 bits wide."""
    out = []
    for u in range(len(w)):
        acc = int(b[u])
        for v, k in zip(x, w[u], strict=True):
            product = np.int16(int(v) - zx) * np.int16(k)
            acc += int(product)
        out.append(max(-128, min(127, math.floor(acc * float(np.broadcast_to(m, len(w))[u]) + 0.5) + zy)))
    return np.array(out, np.int8)


def kernel_sums_ahead(x, w, b, zx, zy, multiplier, shift):
    """Right, as CMSIS-NN does it: the sum of each row of weights is calculated ahead."""
    kernel_sum = w.astype(np.int64).sum(axis=1)
    acc = x.astype(np.int64) @ w.astype(np.int64).T - zx * kernel_sum + b
    mult, sh = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    total = 31 - sh
    y = (acc * mult + (np.int64(1) << (total - 1))) >> total
    return np.clip(y + zy, -128, 127).astype(np.int8)


def kernel_sum_of_row_0(x, w, b, zx, zy, m):
    kernel_sum = int(w[0].astype(int).sum())
    acc = x.astype(np.int64) @ w.astype(np.int64).T - zx * kernel_sum + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def xor_0x80(x, w, b, zx, zw, zy, m):
    signed = (x ^ 0x80).view(np.int8).astype(np.int32)
    acc = (signed - zx) @ (w.astype(np.int32) - zw).T + b
    return np.clip(np.rint(acc * m) + zy, 0, 255).astype(np.uint8)


def division_by_a_constant(x, w, b, zx, zy, m):
    divisor = round(1 / float(np.atleast_1d(m)[0]))
    acc = (x.astype(np.int64) - zx) @ w.astype(np.int64).T + b
    return np.clip(acc // divisor + zy, -128, 127).astype(np.int8)


def relu_before_the_bias(x, w, b, zx, zy, m):
    acc = np.maximum((x.astype(np.int64) - zx) @ w.astype(np.int64).T, 0) + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def nibbles_high_half_first(x, w, b, zx, zy, m):
    swapped = w.reshape(-1, 2)[:, ::-1].reshape(w.shape)
    acc = (x.astype(np.int64) - zx) @ swapped.astype(np.int64).T + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def bias_shifted_left(x, w, b, zx, zy, m):
    # as the old q7 kernels do: bias << bias_shift, plus half of out_shift, then a plain shift
    out_shift = -round(math.log2(float(np.atleast_1d(m)[0])))
    acc = (x.astype(np.int64) - zx) @ w.astype(np.int64).T + b + (1 << (out_shift - 1))
    return np.clip((acc >> out_shift) + zy, -128, 127).astype(np.int8)


CMSIS = "https://github.com/ARM-software/CMSIS-NN/issues/"
TF = "https://github.com/tensorflow/tensorflow/issues/"
FORUM = "https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089"
SO = "https://stackoverflow.com/questions/53420994"

CASES = [
    Case(
        accumulator_with_ssat, "fc", ("sum_saturates_int16_at_each_step",), CMSIS + "184",
        "The accumulator saturates to 16 bits at each product (a new name).",
    ),
    Case(q15_constant, "fc", ("factor_15_fraction_bits",), CMSIS + "184", "15 fraction bits (a new name).",
         also=(("factor_13_fraction_bits",),)),  # 28 / 2^15 is 7 / 2^13
    Case(cmsis_s16_requantize, "fc_channels", ("multiplier_16_bits",), CMSIS + "184"),
    Case(one_shift_too_few, "fc", ("multiplier_taken_as_q30",), TF + "104605"),
    Case(scales_with_three_decimals, "fc", ("scales_three_decimals",), FORUM, "A new name."),
    Case(factor_with_three_digits, "fc", ("factor_three_digits",), FORUM, "A new name.",
         also=(("factor_six_decimals",),)),  # 0.000862 is both
    Case(
        result_in_half, "fc", ("real_result_in_float16",), "https://github.com/ARM-software/ComputeLibrary/issues/834",
        "The real-valued result passes through float16 (a new name).",
    ),
    Case(
        bias_in_the_weights_scale, "fc", ("bias_in_weights_scale",), "https://github.com/pytorch/executorch/pull/20655",
        "The bias is quantized with the weights' scale alone (a new name).",
    ),
    Case(
        torch_round_of_sum, "fc_ties", ("ties_half_even_after_zero_point",), "https://github.com/pytorch/pytorch/issues/76390",
        also=(("rounded_after_zero_point",),),  # the same where the runtime's own ties go to even
    ),
    Case(relu_forgotten, "fc_relu", ("activation_missing",), TF + "53763"),
    Case(
        scales_along_the_depth, "fc_square", ("weights_scale_along_depth",), FORUM,
        "The scales of the units are applied along the depth (a new name).",
    ),
    Case(output_offset_with_wrong_sign, "fc", ("output_zero_point_subtracted",), TF + "49937"),
    Case(
        scaled_in_int32, "fc", ("multiplication_wraps_int32",), CMSIS + "214",
        "The product with the multiplier is 32 bits wide and wraps (a new name).",
        also=(("multiplication_wraps_int32", "factor_26_fraction_bits"), ("multiplication_wraps_int32_q26",)),
    ),
    Case(shorts_are_enough, "fc", RIGHT, TF + "58987"),
    Case(kernel_sums_ahead, "fc_channels", RIGHT, CMSIS + "214"),
    Case(
        kernel_sum_of_row_0, "fc", ("weights_sum_first_for_all",), SO,
        "The sum of the first unit's weights is used for all units (a new name).",
    ),
    Case(xor_0x80, "fc_u8", ("input_shifted_by_128",), "https://github.com/pytorch/pytorch/issues/63769"),
    Case(
        division_by_a_constant, "fc", ("factor_one_over_integer", "rounding_floor"), SO,
        "The sum is divided by 1 / factor, rounded to an integer (a new name), and rounded down.",
    ),
    Case(
        relu_before_the_bias, "fc_relu", ("activation_before_bias",), TF + "53763",
        "The ReLU is applied before the bias, and not after it (a new name).",
        also=(("activation_before_bias", "activation_missing"),),
    ),
    Case(nibbles_high_half_first, "fc_int4", ("weights_nibbles_swapped",), "https://github.com/Samsung/ONE/issues/12801"),
    Case(bias_shifted_left, "fc", ("factor_power_of_two",), TF + "62640"),
]  # fmt: skip
