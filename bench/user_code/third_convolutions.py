"""A third set, convolutions: C-like loops, im2col, views, other layouts; before `diagnose` was run on any of them."""

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from .case import Case


def c_kernel(input, filter, bias, input_zp, output_zp, effective_scale):
    """Seven loops, with the test for the border; -1 too few at the far end."""
    n, height, width, channels = input.shape
    units, kh, kw, _ = filter.shape
    output = np.zeros((n, height, width, units), np.int8)
    for b in range(n):
        for y in range(height):
            for x in range(width):
                for o in range(units):
                    acc = int(bias[o])
                    for i in range(kh):
                        for j in range(kw):
                            sy, sx = y + i - 1, x + j - 1
                            if sy < 0 or sx < 0 or sy >= height - 1 or sx >= width - 1:
                                continue
                            for c in range(channels):
                                acc += (int(input[b, sy, sx, c]) - input_zp) * int(filter[o, i, j, c])
                    scale = effective_scale[o] if np.ndim(effective_scale) else effective_scale
                    output[b, y, x, o] = max(-128, min(127, int(np.rint(acc * scale)) + output_zp))
    return output


def windows_by_view(x, filters, bias, zx, zy, m):
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=zx).astype(np.int64) - zx
    win = sliding_window_view(padded, (3, 3), axis=(1, 2))
    acc = np.tensordot(win, filters.astype(np.int64), axes=([3, 4, 5], [3, 1, 2])) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def windows_by_strides(x, filters, bias, zx, zy, m):
    """as_strided over the padded image; the kernel's two axes are the other way round in the sum."""
    p = np.ascontiguousarray(np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 1), (1, 1), (0, 0))))
    sn, sh, sw, sc = p.strides
    win = as_strided(p, (*x.shape[:3], 3, 3, x.shape[3]), (sn, sh, sw, sh, sw, sc))
    acc = np.einsum("nhwijc,ojic->nhwo", win, filters.astype(np.int64)) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def keeps_every_second(x, filters, bias, zx, zy, m):
    """Stride 2 as 'calculate all, keep every second': the windows lie as with stride 1."""
    p = np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    win = sliding_window_view(p, (3, 3), axis=(1, 2))
    acc = np.einsum("nhwcij,oijc->nhwo", win, filters.astype(np.int64)) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)[:, ::2, ::2]


def edge_pixels_repeated(x, filters, bias, zx, zy, m):
    p = np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    win = sliding_window_view(p, (3, 3), axis=(1, 2))
    acc = np.einsum("nhwcij,oijc->nhwo", win, filters.astype(np.int64)) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def depthwise_forgets_its_bias(x, filters, zx, zy, m):
    p = np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    win = sliding_window_view(p, (3, 3), axis=(1, 2))
    acc = (win * filters[0].transpose(2, 0, 1).astype(np.int64)).sum(axis=(-1, -2))
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def depthwise_one_scale(x, filters, bias, s_x, s_w, s_y, zx, zy):
    p = np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros(x.shape, np.int64)
    for i in range(3):
        for j in range(3):
            out += p[:, i : i + x.shape[1], j : j + x.shape[2]] * filters[0, i, j]
    out += bias
    return np.clip(np.rint(out * (s_x * float(np.max(s_w)) / s_y)) + zy, -128, 127).astype(np.int8)


def depthwise_reads_hwc_as_chw(x, filters, bias, zx, zy, m):
    """The kernel's memory is taken for [channels, height, width]."""
    k = filters.reshape(filters.shape[3], 3, 3).astype(np.int64)
    p = np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    win = sliding_window_view(p, (3, 3), axis=(1, 2))
    acc = np.einsum("nhwcij,cij->nhwc", win, k) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def relu6_in_real_numbers(x, filters, bias, s_x, s_w, s_y, zx, zy):
    p = np.pad((x.astype(np.float64) - zx) * s_x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    win = sliding_window_view(p, (3, 3), axis=(1, 2))
    w = filters * np.reshape(s_w, (-1, 1, 1, 1)).astype(np.float64)
    real = np.einsum("nhwcij,oijc->nhwo", win, w) + bias * (s_x * np.asarray(s_w, np.float64))
    real = np.clip(real, 0, 6)
    return np.clip((real / s_y + zy).astype(int), -128, 127).astype(np.int8)


def valid_of_same(x, filters, bias, zx, zy, m):
    """SAME in the file; the code has no padding at all."""
    win = sliding_window_view(x.astype(np.int64) - zx, (3, 3), axis=(1, 2))
    acc = np.einsum("nhwcij,oijc->nhwo", win, filters.astype(np.int64)) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def torch_layout(x, filters, bias, zx, zy, m):
    """X to NCHW, weights to OIHW, and the result is not brought back to NHWC."""
    chw, oihw = x.transpose(0, 3, 1, 2).astype(np.int64) - zx, filters.transpose(0, 3, 1, 2).astype(np.int64)
    p = np.pad(chw, ((0, 0), (0, 0), (1, 1), (1, 1)))
    win = sliding_window_view(p, (3, 3), axis=(2, 3))
    acc = np.einsum("nchwij,ocij->nohw", win, oihw) + np.reshape(bias, (1, -1, 1, 1))
    y = np.rint(acc * np.reshape(m, (1, -1, 1, 1))) + zy
    return np.clip(y, -128, 127).astype(np.int8)


def pointwise_of_the_hwio(x, w, b, zx, zy, m):
    kernel = w.reshape(w.shape[3], w.shape[0]).astype(np.int64)
    acc = (x.astype(np.int64) - zx) @ kernel + b
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def dilation_of_rows_only(x, filters, bias, zx, zy, m):
    """dilation_h_factor is used, dilation_w_factor forgotten; the padding is that of the file."""
    p = np.pad(x.astype(np.int64) - zx, ((0, 0), (2, 2), (2, 2), (0, 0)))
    n, h, w, _ = x.shape
    acc = np.tile(bias.astype(np.int64), (n, h, w, 1))
    for i in range(3):
        for j in range(3):
            acc += p[:, 2 * i : 2 * i + h, 1 + j : 1 + j + w] @ filters[:, i, j].astype(np.int64).T
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


CMSIS = "https://github.com/ARM-software/CMSIS-NN/issues/"
TVM = "https://github.com/apache/tvm/pull/4807"
TF = "https://github.com/tensorflow/tensorflow/issues/"
ONNX = "https://github.com/MPolaris/onnx2tflite/issues/5"

CASES = [
    Case(
        c_kernel, "conv", ("last_row_and_column_taken_for_padding",), TF + "49937",
        "The last row and column of the image count as outside it (a made-up name).",
        also=(("last_row_and_column_as_padding",),),
    ),
    Case(windows_by_view, "conv_relu6", ("activation_missing",), TF + "53763"),
    Case(windows_by_strides, "conv", ("kernel_transposed",), TVM),
    Case(keeps_every_second, "conv_stride2", ("stride_origin",), ONNX, also=(("padding_same_wrong_side",),)),
    Case(edge_pixels_repeated, "conv", ("padding_edge",), TVM, "The border is repeated (a made-up name)."),
    Case(depthwise_forgets_its_bias, "depthwise", ("bias_missing",), CMSIS + "214"),
    Case(
        depthwise_one_scale, "depthwise", ("scales_largest_for_all",), CMSIS + "214",
        "The largest of the scales is used for all channels (a made-up name).",
    ),
    Case(depthwise_reads_hwc_as_chw, "depthwise", ("depthwise_layout",), CMSIS + "184"),
    Case(
        relu6_in_real_numbers, "conv_relu6", ("calculated_in_real_numbers_float64", "truncated_after_zero_point"),
        TF + "53763",
        also=(("truncated_after_zero_point",), ("calculated_in_real_numbers", "truncated_after_zero_point"),
              ("truncated_after_zero_point", "relu6_bound_truncated")),  # 6 is cast as everything is
    ),
    Case(valid_of_same, "conv", ("padding_valid",), ONNX, "VALID in the place of SAME (a made-up name)."),
    Case(torch_layout, "conv", ("output_channels_first",), "https://github.com/nntrainer/nntrainer/issues/1973"),
    Case(pointwise_of_the_hwio, "conv_pointwise", ("kernel_as_hwio",), TVM, also=(("weights_as_in_out",),)),
    Case(
        dilation_of_rows_only, "conv_dilated", ("dilation_of_rows_only",), "https://github.com/tensorflow/tflite-micro/issues/1646",
        "The columns are not dilated (a made-up name).", also=(("dilation_ignored_in_columns",),),
    ),
]  # fmt: skip
