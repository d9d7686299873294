"""int8 dense layers: bias, rounding, clamp, layout, and functions of one parameter."""

import math

import numpy as np

from .case import RIGHT, Case


def bias_dequantized_first(x, weights, bias, zx, zy, s_x, s_w, s_y):
    b = bias * (s_x * s_w)
    acc = (x.astype(np.int32) - zx) @ weights.astype(np.int32).T
    return np.clip(np.rint((acc + b) * (s_x * s_w) / s_y) + zy, -128, 127).astype(np.int8)


def integer_bias_on_real_output(x, weights, bias, zx, zy, s_x, s_w, s_y):
    xf = (x.astype(np.float64) - zx) * s_x
    wf = weights.astype(np.float64) * s_w[:, None]
    y = xf @ wf.T + bias
    return np.clip(np.rint(y / s_y) + zy, -128, 127).astype(np.int8)


def bias_after_requantization(x, w, b, zx, zy, m):
    y = np.rint(((x.astype(int) - zx) @ w.T.astype(int)) * m) + b + zy
    return np.clip(y, -128, 127).astype(np.int8)


def bias_in_a_char(x, w, b, zx, zy, m):
    char_b = b.astype(np.int8)
    y = np.rint(((x.astype(int) - zx) @ w.T.astype(int) + char_b) * m) + zy
    return np.clip(y, -128, 127).astype(np.int8)


def qlinear_matmul(a, b, a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point, bias):
    A = a.astype(np.int32) - a_zero_point
    B = b.astype(np.int32).T - b_zero_point
    C = np.matmul(A, B) + bias
    D = np.rint(C * (a_scale * b_scale / y_scale)) + y_zero_point
    return D.astype(np.int64).astype(np.int8)


def relu_like_keras(x, w, b, zx, zy, m):
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + b
    y = np.clip(np.rint(acc * m) + zy, -128, 127)
    return np.maximum(y, 0).astype(np.int8)


def keras_kernel_layout(x, w, b, zx, zy, m):
    kernel = w.reshape(w.shape[1], w.shape[0])
    acc = (x.astype(np.int32) - zx) @ kernel.astype(np.int32) + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def loop_ends_too_early(x, w, b, zx, zy, m):
    y = []
    for u in range(len(w)):
        s = int(b[u])
        i = 0
        while i < len(x) - 1:
            s += (int(x[i]) - zx) * int(w[u, i])
            i += 1
        y.append(min(127, max(-128, round(s * float(m[0])) + zy)))
    return y


def simd_without_tail(x, w, b, zx, zy, m):
    acc = np.tile(b.astype(np.int64), (len(x), 1))
    for start in range(0, w.shape[1] // 4 * 4, 4):
        block = x[:, start : start + 4].astype(np.int64) - zx
        acc += block @ w[:, start : start + 4].astype(np.int64).T
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def floor_plus_half(x, w, b, zx, zy, m):
    acc = (x.astype(np.int64) - zx) @ w.astype(np.int64).T + b
    return np.clip(np.floor(acc * m + 0.5).astype(int) + zy, -128, 127).astype(np.int8)


def round_half_away(x, w, b, zx, zy, m):
    v = ((x.astype(np.int64) - zx) @ w.astype(np.int64).T + b) * m
    r = np.where(v >= 0, np.floor(v + 0.5), np.ceil(v - 0.5))
    return np.clip(r + zy, -128, 127).astype(np.int8)


def bankers_rounding(x, w, b, zx, zy, m):
    y = []
    for u in range(len(w)):
        acc = int(b[u]) + sum((int(v) - zx) * int(k) for v, k in zip(x, w[u], strict=True))
        y.append(max(-128, min(127, round(acc * float(m[0])) + zy)))
    return y


def half_and_cast(x, w, b, zx, zy, m):
    out = np.zeros((len(x), len(w)))
    for r in range(len(x)):
        for u in range(len(w)):
            v = np.sum((x[r].astype(int) - zx) * w[u].astype(int)) + b[u]
            out[r, u] = math.trunc(v * m[0] + 0.5) + zy
    return out.clip(-128, 127)


def cast_after_zero_point(x, w, b, zx, zy, m):
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + b
    return np.clip(acc * m + zy, -128, 127).astype(np.int8)


def offset_with_wrong_sign(x, w, b, zx, zy, m):
    input_offset = zx
    acc = (x.astype(np.int32) + input_offset) @ w.astype(np.int32).T + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def subtracts_in_int8(x, w, b, zx, zy, m):
    d = x - np.int8(zx)
    acc = d.astype(np.int32) @ w.astype(np.int32).T + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def unsigned_char_weights(x, w, b, zx, zy, m):
    raw = w.view(np.uint8)  # read from the .h file into an unsigned char array
    acc = (x.astype(np.int32) - zx) @ raw.astype(np.int32).T + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def all_in_float(x, w, b, s_x, s_w, s_y, zx, zy):
    out = np.zeros((len(x), len(w)))
    for r in range(len(x)):
        for u in range(len(w)):
            s = 0.0
            for k in range(w.shape[1]):
                s += float((float(x[r, k]) - zx) * float(s_x)) * (float(w[u, k]) * float(s_w[0]))
            out[r, u] = round((s + b[u] * float(s_x) * float(s_w[0])) / float(s_y)) + zy
    return np.clip(out, -128, 127)


def short_accumulator(x, w, b, zx, zy, m):
    acc = np.zeros((len(x), len(w)), np.int16)
    for k in range(w.shape[1]):
        acc += ((x[:, k : k + 1].astype(np.int32) - zx) * w[:, k].astype(np.int32)).astype(np.int16)
    acc = (acc + b).astype(np.int16)
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def my_layer_maker(p):
    W, B = p["weights"].astype(np.int64), p["bias"].astype(np.int64)
    M = np.float32(p["input_scale"] * p["weights_scale"] / p["output_scale"])

    def my_layer(q):
        return np.clip(np.rint(((q - np.int64(p["zx"])) @ W.T + B) * M) + p["zy"], -128, 127).astype(np.int8)

    return my_layer


def my_truncating_layer_maker(p):
    M = p["input_scale"] * p["weights_scale"] / p["output_scale"]

    def run(sample):
        result = []
        for unit, weights in enumerate(p["weights"]):
            total = int(p["bias"][unit])
            for position, value in enumerate(sample):
                total += (int(value) - p["zx"]) * int(weights[position])
            result.append(int(np.clip(int(total * float(M[0])) + p["zy"], -128, 127)))
        return result

    return run


def dequantized_answer(x, w, b, zx, s_x, s_w, s_y, zy):
    acc = (x.astype(np.int64) - zx) @ w.astype(np.int64).T + b
    q = np.clip(np.rint(acc.astype(np.float32) * np.float32(s_x * s_w / s_y)) + zy, -128, 127)
    return (q - zy) * s_y


def minus_output_zero_point(x, w, b, zx, zy, m):
    acc = (x.astype(np.int32) - zx) @ w.astype(np.int32).T + b
    return np.clip(np.rint(acc * m) - zy, -128, 127).astype(np.int8)


def first_try(x, w, b, m):
    y = (x.astype(np.int32) @ w.T.astype(np.int32) + b) * m
    return y.astype(np.int32).clip(-128, 127).astype(np.int8)


def char_output(x, w, b, zx):
    conv_o = (x.astype(np.int32) - zx) @ w.T.astype(np.int32)
    return (conv_o + b).astype(np.int8)


def quantizes_its_input_by_cast(x, w, b, s_x, zx, zy, m):
    q = (x / s_x + zx).astype(np.int8)
    acc = (q.astype(np.int32) - zx) @ w.T.astype(np.int32) + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def reads_nchw(x, weights, bias, zx, zy, m):
    # x: [batch, height, width, channels]; PyTorch flattens channels first
    flat = x.transpose(0, 3, 1, 2).reshape(len(x), -1).astype(np.int32)
    acc = (flat - zx) @ weights.astype(np.int32).T + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def only_the_first_row(x, w, b, zx, zy, m):
    out = np.zeros((x.shape[-2], len(w)), np.int8)
    acc = (x.reshape(-1, w.shape[1]).astype(int) - zx) @ w.astype(int).T + b
    out[0] = np.clip(np.rint(acc[0] * m) + zy, -128, 127)
    return out


def s1_s2_s3(q1, q2, b, s1, z1, s2, z2, s3, z3):
    acc = (q1.astype(np.int32) - z1) @ (q2.astype(np.int32) - z2).T + b
    M = s1 * s2 / s3
    return np.clip(np.floor(M * acc) + z3, -128, 127).astype(np.int8)


TF = "https://github.com/tensorflow/tensorflow/issues/"
FORUM = "https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089"
TORCH_NUMPY = "https://discuss.pytorch.org/t/implementing-quantized-linear-layer-in-numpy/197716"
TORCH_LOOP = "https://discuss.pytorch.org/t/qat-achieving-99-999975-similarity-please-help-with-last-mile-error/102391"
PYRTLNET = "https://github.com/UCSBarchlab/pyrtlnet/issues/6"
FPGA_CHAR = "https://discuss.ai.google.dev/t/how-are-conv-layer-and-others-layers-outputs-quantized/31772"
CMSIS = "https://github.com/ARM-software/CMSIS-NN/issues/"
ROUNDINGS = "https://discuss.ai.google.dev/t/mixed-rounding-behavior-in-quantized-model-using-tfl-interpreter/138662"
S_NAMES = {"q1": "x", "q2": "weights", "s1": "input_scale", "z1": "input_zero_point"} | {
    "s2": "weights_scale", "z2": "weights_zero_point", "s3": "output_scale", "z3": "output_zero_point"
}  # fmt: skip

CASES = [
    Case(
        bias_dequantized_first,
        "fc",
        ("bias_real_on_integer_sum",),
        "https://github.com/pytorch/executorch/pull/20655",
    ),
    Case(
        integer_bias_on_real_output,
        "fc",
        ("bias_integer_on_real_sum",),
        "https://github.com/ARM-software/armnn/issues/550",
        "The int32 bias is added to the real-valued sum; it must be multiplied by s_x * s_w first.",
    ),
    Case(bias_after_requantization, "fc", ("bias_after_scaling",), TF + "53370"),
    Case(bias_in_a_char, "fc", ("bias_as_int8",), TF + "62640"),
    Case(qlinear_matmul, "fc_loud", ("output_wraps",), "https://github.com/onnx/onnx/issues/6169"),
    Case(relu_like_keras, "fc_relu", ("activation_without_zero_point",), TF + "49937"),
    Case(keras_kernel_layout, "fc", ("weights_as_in_out",), "https://github.com/nntrainer/nntrainer/issues/1973"),
    Case(loop_ends_too_early, "fc", ("last_product_left_out",), "https://github.com/espressif/esp-nn/issues/34"),
    Case(
        simd_without_tail, "fc_odd", ("remainder_of_4_left_out",), "https://github.com/mit-han-lab/tinyengine/issues/59"
    ),
    Case(floor_plus_half, "fc_ties", RIGHT, ROUNDINGS, "CMSIS-NN with single rounding does this."),
    Case(round_half_away, "fc_ties", RIGHT, ROUNDINGS, "LiteRT's reference kernel does this."),
    Case(bankers_rounding, "fc_ties", RIGHT, TORCH_LOOP, "XNNPACK does this."),
    Case(half_and_cast, "fc", ("half_added_then_truncated",), TF + "53370"),
    Case(cast_after_zero_point, "fc", ("truncated_after_zero_point",), "https://stackoverflow.com/questions/78228612"),
    Case(offset_with_wrong_sign, "fc", ("input_zero_point_added",), CMSIS + "184"),
    Case(
        subtracts_in_int8,
        "fc_far",
        ("input_minus_zero_point_wraps_int8",),
        "https://github.com/pytorch/executorch/pull/20655",
    ),
    Case(unsigned_char_weights, "fc", ("weights_as_uint8",), FPGA_CHAR),
    Case(
        all_in_float,
        "fc_ties",
        ("calculated_in_real_numbers_float64",),
        TORCH_LOOP,
        "Real numbers in another order; ties go to even.",
        also=(RIGHT, ("calculated_in_real_numbers",)),
    ),
    Case(
        short_accumulator,
        "fc",
        ("sum_wraps_int16",),
        TF + "102943",
        "The bias is in the sum that wraps.",
        also=(("accumulator_wraps_int16",),),
    ),
    Case(my_layer_maker, "fc", RIGHT, "https://stackoverflow.com/questions/53420994", made=True),
    Case(my_truncating_layer_maker, "fc", ("rounding_truncated",), TF + "49937", made=True),
    Case(dequantized_answer, "fc", RIGHT, TORCH_NUMPY, "The right numbers, dequantized."),
    Case(minus_output_zero_point, "fc", ("output_zero_point_subtracted",), FORUM),
    Case(
        first_try,
        "fc",
        ("input_zero_point_missing", "rounding_truncated", "output_zero_point_missing"),
        "https://stackoverflow.com/questions/53420994",
    ),
    Case(char_output, "fc", ("accumulator_cast_to_output",), FPGA_CHAR),
    Case(
        quantizes_its_input_by_cast,
        "fc",
        ("input_quantized_by_truncation",),
        "https://github.com/zephyrproject-rtos/zephyr/issues/88638",
        real_input=True,
        as_array=True,
    ),
    Case(reads_nchw, "flatten", ("input_channels_first",), "https://github.com/espressif/esp-nn/issues/25"),
    Case(
        only_the_first_row,
        "fc_rows",
        ("rows_unwritten",),
        TF + "53501",
        "Only the first row of the output is written.",
        as_array=True,
    ),
    Case(s1_s2_s3, "fc", ("rounding_floor",), PYRTLNET, params=S_NAMES),
]
