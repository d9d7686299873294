"""int8 dense layers."""

import numpy as np

from .case import RIGHT, Case


def dense_from_the_forum(q_in, q_w, s_in, zp_in, s_w, zp_w, s_out, zp_out, bias):
    n = q_w.shape[1]
    term1 = np.matmul(q_in, q_w.T)
    term2 = zp_w * np.sum(q_in.astype(np.int32), axis=1, keepdims=True)
    term3 = zp_in * np.sum(q_w.astype(np.int32), axis=1)
    term4 = n * zp_in * zp_w
    acc = term1.astype(np.int32) - term2 - term3 + term4 + bias
    out = zp_out + np.round((s_in * s_w / s_out) * acc)
    return np.clip(out, -128, 127).astype(np.int8)


def quantized_linear(x_q, fc_weight, bias_q, x_scale, weight_scale, out_scale, zp_out):
    matmul_out = np.matmul(x_q.astype(np.int32), fc_weight.astype(np.int32).T)
    scale_factor = x_scale * weight_scale / out_scale
    outq = np.round((matmul_out + bias_q) * scale_factor) + zp_out
    return np.clip(outq, -128, 127).astype(np.int8)


def paper_equation(q1, w, b, s_x, s_w, s_y, z_x, z_w, z_y):
    m = np.float64(s_x) * s_w.astype(np.float64) / np.float64(s_y)
    q1 = q1.astype(np.int64) - z_x
    q2 = w.astype(np.int64) - z_w
    acc = q1 @ q2.T + b
    return np.clip(z_y + np.rint(acc.astype(np.float32) * m.astype(np.float32)), -128, 127).astype(np.int8)


def fc_like_c(input, filter, bias, input_zp, output_zp, effective_scale):
    out = [0] * filter.shape[0]
    for o in range(filter.shape[0]):
        acc = 0
        for i in range(filter.shape[1]):
            acc += (int(input[i]) - input_zp) * int(filter[o][i])
        acc += int(bias[o])
        scaled = int(acc * float(effective_scale[o % len(effective_scale)]))
        scaled += output_zp
        if scaled < -128:
            scaled = -128
        if scaled > 127:
            scaled = 127
        out[o] = scaled
    return np.array(out, np.int8)


def saturating_rounding_doubling_high_mul(a, b):
    ab = int(a) * int(b)
    nudge = (1 << 30) if ab >= 0 else (1 - (1 << 30))
    return int((ab + nudge) / (1 << 31)) if abs(ab) < 2**52 else _c_div(ab + nudge, 1 << 31)


def _c_div(a, b):
    return a // b if a >= 0 else -((-a) // b)


def rounding_divide_by_pot(x, exponent):
    mask = (1 << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if remainder > threshold else 0)


def fully_connected_gemmlowp(input_data, filter, bias, input_zp, output_zp, multiplier, shift):
    batches, depth = input_data.shape
    out = np.empty((batches, filter.shape[0]), np.int8)
    for b in range(batches):
        for o in range(filter.shape[0]):
            acc = int(bias[o])
            for d in range(depth):
                acc += (int(input_data[b, d]) - input_zp) * int(filter[o, d])
            k = o % len(multiplier)
            left, right = max(int(shift[k]), 0), max(-int(shift[k]), 0)
            acc = rounding_divide_by_pot(saturating_rounding_doubling_high_mul(acc << left, multiplier[k]), right)
            out[b, o] = min(max(acc + output_zp, -128), 127)
    return out


def fully_connected_plain_shift(input_data, filter, bias, input_zp, output_zp, multiplier, shift):
    acc = (input_data.astype(np.int64) - input_zp) @ filter.astype(np.int64).T + bias
    high = (acc * multiplier.astype(np.int64) + (1 << 30)) >> 31
    y = (high >> -shift.astype(np.int64)) + output_zp
    return np.clip(y, -128, 127).astype(np.int8)


def high_mul_without_nudge(input_data, filter, bias, input_zp, output_zp, multiplier, shift):
    acc = (input_data.astype(np.int64) - input_zp) @ filter.astype(np.int64).T + bias
    out = np.zeros(acc.shape, np.int8)
    for r in range(acc.shape[0]):
        for u in range(acc.shape[1]):
            k = u % len(shift)
            v = (int(acc[r, u]) * int(multiplier[k])) >> 31
            v = rounding_divide_by_pot(v, -int(shift[k]))
            out[r, u] = max(-128, min(127, v + output_zp))
    return out


def srdhm_in_python(x, w, b, zx, zy, multiplier, shift):
    acc = (x.astype(np.int64) - zx) @ w.astype(np.int64).T + b
    ab = acc * multiplier.astype(np.int64)
    nudge = np.where(ab >= 0, 1 << 30, 1 - (1 << 30))
    high = (ab + nudge) >> 31  # the C code divides here
    n = -shift.astype(np.int64)
    mask = (np.int64(1) << n) - 1
    rest = high & mask
    high = (high >> n) + (rest > (mask >> 1) + (high < 0))
    return np.clip(high + zy, -128, 127).astype(np.int8)


def requant_stage(acc_in, weights, bias, zero_point_in, zero_point_out, m0, shift):
    acc = np.dot(acc_in.astype(np.int32) - zero_point_in, weights.T.astype(np.int32)) + bias
    prod = acc.astype(np.int64) * m0
    res = prod >> (31 - shift)  # arithmetic right shift, as in the RTL
    return np.clip(res + zero_point_out, -128, 127).astype(np.int8)


def golden_model(act, wgt, bias, in_zp, out_zp, m0, shift):
    y = []
    for row in wgt:
        s = sum((int(a) - in_zp) * int(k) for a, k in zip(act, row, strict=True))
        y.append(s)
    y = (np.array(y) + bias) * m0.astype(np.int64) // (1 << (31 - shift.astype(np.int64)))
    return np.minimum(np.maximum(y + out_zp, -128), 127)


def sixteen_bit_factor(x, weights, bias, zp_x, zp_y, m):
    mult = np.round(m * 65536).astype(np.int64)
    acc = (x.astype(np.int64) - zp_x) @ weights.T.astype(np.int64) + bias
    return np.clip(((acc * mult + 32768) >> 16) + zp_y, -128, 127)


def one_scale_is_enough(x, w, bias, input_scale, weight_scales, output_scale, zx, zy):
    scale = input_scale * weight_scales[0] / output_scale
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + bias
    return np.clip(np.round(acc * scale) + zy, -128, 127).astype(np.int8)


def scales_from_netron(x, weights, bias):
    # input: 0.0745 * (q + 5), weights: 0.0178 * q, output 1.5403 * (q - 4)
    s_x, z_x, s_w, s_y, z_y = 0.0745, -5, 0.0178, 1.5403, 4
    acc = (x.astype(np.int32) - z_x) @ weights.astype(np.int32).T + bias
    return np.clip(np.round(acc * (s_x * s_w / s_y)) + z_y, -128, 127).astype(np.int8)


def factor_typed_in(x, weights, bias):
    M = 0.00086
    acc = (x.astype(np.int32) + 5) @ weights.astype(np.int32).T + bias
    return np.clip(np.round(acc * M) + 4, -128, 127).astype(np.int8)


def output_scale_of_another_layer(x, weights, bias):
    acc = (x.astype(np.int32) + 5) @ weights.astype(np.int32).T + bias
    real = acc * 0.0745098039 * 0.01782345
    return np.clip(np.round(real / 1.7) + 4, -128, 127).astype(np.int8)


TF = "https://github.com/tensorflow/tensorflow/issues/"
FORUM = "https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089"
TORCH_NUMPY = "https://discuss.pytorch.org/t/implementing-quantized-linear-layer-in-numpy/197716"
PYRTLNET = "https://github.com/UCSBarchlab/pyrtlnet/issues/6"
TINY_XPU = "https://github.com/avikde/tiny-xpu/issues/25"
CMSIS = "https://github.com/ARM-software/CMSIS-NN/issues/"

CASES = [
    Case(dense_from_the_forum, "fc", ("product_wraps_int8",), FORUM),
    Case(quantized_linear, "fc", ("input_zero_point_missing",), TORCH_NUMPY),
    Case(paper_equation, "fc", RIGHT, PYRTLNET),
    Case(fc_like_c, "fc", ("rounding_truncated",), TF + "53370"),
    Case(fully_connected_gemmlowp, "fc", RIGHT, TF + "104605"),
    Case(fully_connected_plain_shift, "fc", ("second_step_not_rounded",), CMSIS + "53"),
    Case(high_mul_without_nudge, "fc", ("first_step_not_rounded",), TF + "104605"),
    Case(srdhm_in_python, "fc_ties", ("negative_nudge_then_shift",), TF + "102943"),
    Case(requant_stage, "fc", ("rounding_floor",), TINY_XPU),
    Case(golden_model, "fc_channels", ("rounding_floor",), "https://github.com/soon-yau/QNN/issues/2"),
    Case(sixteen_bit_factor, "fc", ("factor_16_fraction_bits",), CMSIS + "184"),
    Case(
        one_scale_is_enough,
        "fc_channels",
        ("scales_first_for_all",),
        "https://discuss.ai.google.dev/t/extract-quantization-parameters-used-for-convolution-layer-weights-and-perform-layer-by-layer-inference-in-c/44943",
    ),
    Case(
        scales_from_netron,
        "fc",
        ("fitted_factor",),
        "https://github.com/lutzroeder/netron/issues/1221",
        "The scales are copied with three digits.",
        also=(("scales_three_digits",), ("scales_four_decimals",)),
    ),
    Case(
        factor_typed_in,
        "fc",
        ("fitted_factor",),
        CMSIS + "53",
        "The factor is copied with five decimals.",
        also=(("factor_five_decimals",), ("factor_two_digits",)),
    ),
    Case(
        output_scale_of_another_layer,
        "fc",
        ("fitted_factor",),
        TF + "49937",
        "The output's scale, 1.7, is another layer's.",
    ),
]
