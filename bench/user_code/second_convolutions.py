"""A second set, convolutions: written after the first set was answered, before `diagnose` was run on any of them."""

import numpy as np

from .case import RIGHT, Case


def _requantized(acc, m, zy, low=-128, high=127):
    return np.clip(np.rint(acc * m) + zy, low, high).astype(np.int8)


def _patches(padded, kh, kw, stride=1, step=1):
    n, h, w, c = padded.shape
    oh, ow = (h - (kh - 1) * step - 1) // stride + 1, (w - (kw - 1) * step - 1) // stride + 1
    cols = np.empty((n, oh, ow, kh, kw, c), np.int64)
    for ky in range(kh):
        for kx in range(kw):
            y, x = ky * step, kx * step
            cols[..., ky, kx, :] = padded[:, y : y + oh * stride : stride, x : x + ow * stride : stride]
    return cols


def pads_with_minus_128(x, filters, bias, zx, zy, m):
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-128).astype(np.int64)
    acc = np.einsum("nijabc,oabc->nijo", _patches(padded - zx, 3, 3), filters.astype(np.int64))
    return _requantized(acc + bias, m, zy)


def scale_of_the_input_channel(x, filters, bias, zx, zy, m):
    times = filters.shape[3] // x.shape[3]
    padded = np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((*x.shape[:3], filters.shape[3]), np.int8)
    for c in range(x.shape[3]):
        for t in range(times):
            o = c * times + t
            acc = np.einsum("nijab,ab->nij", _patches(padded, 3, 3)[..., c], filters[0, :, :, o].astype(np.int64))
            out[..., o] = _requantized(acc + bias[o], m[c], zy)
    return out


def conv_in_shorts(x, filters, bias, zx, zy, m):
    padded = np.pad(x.astype(np.int16) - np.int16(zx), ((0, 0), (1, 1), (1, 1), (0, 0)))
    cols = _patches(padded, 3, 3).reshape(*x.shape[:3], -1).astype(np.int16)
    acc = cols @ filters.reshape(len(filters), -1).astype(np.int16).T
    return _requantized(acc.astype(np.int64) + bias, m, zy)


def im2col_channels_first(x, filters, bias, zx, zy, m):
    padded = np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    cols = _patches(padded, 3, 3).transpose(0, 1, 2, 5, 3, 4).reshape(*x.shape[:3], -1)
    return _requantized(cols @ filters.reshape(len(filters), -1).astype(np.int64).T + bias, m, zy)


def relu6_is_six(x, filters, bias, zx, zy, m):
    padded = np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    acc = np.einsum("nijabc,oabc->nijo", _patches(padded, 3, 3), filters.astype(np.int64)) + bias
    return (np.minimum(np.maximum(np.rint(acc * m), 0), 6) + zy).astype(np.int8)


def convolve_as_in_scipy(x, filters, bias, zx, zy, m):
    n, h, w, channels = x.shape
    out = np.zeros(x.shape, np.int8)
    for b in range(n):
        for c in range(channels):
            image, kernel = x[b, :, :, c].astype(np.int64) - zx, filters[0, :, :, c].astype(np.int64)
            full = np.zeros((h + 2, w + 2), np.int64)
            for i in range(3):
                for j in range(3):
                    full[i : i + h, j : j + w] += kernel[i, j] * image
            out[b, :, :, c] = _requantized(full[1:-1, 1:-1] + bias[c], m[c], zy)
    return out


def partial_sums_are_rounded(x, filters, bias, zx, zy, m):
    # one input channel at a time; each partial result is brought to the output's scale at once
    padded = np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    cols = _patches(padded, 3, 3)
    y = np.rint(bias * m) + zy
    for c in range(x.shape[3]):
        y = y + np.rint(np.einsum("nijab,oab->nijo", cols[..., c], filters[..., c].astype(np.int64)) * m)
    return np.clip(y, -128, 127).astype(np.int8)


def offset_folded_into_bias(x, filters, bias, zx, zy, m):
    folded = bias.astype(np.int64) - zx * filters.astype(np.int64).sum(axis=(1, 2, 3))
    out = np.zeros((*x.shape[:3], len(filters)), np.int8)
    for oy in range(x.shape[1]):
        for ox in range(x.shape[2]):
            acc = np.tile(folded, (len(x), 1))
            for ky in range(3):
                for kx in range(3):
                    iy, ix = oy + ky - 1, ox + kx - 1
                    if iy < 0 or ix < 0 or iy >= x.shape[1] or ix >= x.shape[2]:
                        continue
                    acc = acc + x[:, iy, ix].astype(np.int64) @ filters[:, ky, kx].astype(np.int64).T
            out[:, oy, ox] = _requantized(acc, m, zy)
    return out


def dilated_but_padded_by_one(x, filters, bias, zx, zy, m):
    padded = np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 3), (1, 3), (0, 0)))
    acc = np.einsum("nijabc,oabc->nijo", _patches(padded, 3, 3, step=2), filters.astype(np.int64))
    return _requantized(acc + bias, m, zy)


def pointwise_right(x, w, b, zx, zy, multiplier, shift):
    kernel = w.reshape(len(w), -1).astype(np.int64)
    acc = x.astype(np.int64) @ kernel.T - zx * kernel.sum(axis=1) + b
    total = 31 - np.asarray(shift, np.int64)
    y = (acc * np.asarray(multiplier, np.int64) + (np.int64(1) << (total - 1))) >> total
    return np.clip(y + zy, -128, 127).astype(np.int8)


def accumulates_into_the_output(x, filters, bias, zx, zy, m):
    # `acc` is set to the bias once for an image, and not for each window
    out = np.zeros((*x.shape[:3], len(filters)), np.int8)
    padded = np.pad(x.astype(np.int64) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    sums = np.einsum("nijabc,oabc->nijo", _patches(padded, 3, 3), filters.astype(np.int64))
    for n in range(len(x)):
        acc = bias.astype(np.int64)
        for oy in range(x.shape[1]):
            for ox in range(x.shape[2]):
                acc = acc + sums[n, oy, ox]
                out[n, oy, ox] = _requantized(acc, m, zy)
    return out


def symmetric_pad_and_stride(x, filters, bias, zx, zy, m):
    # a kernel of 5, stride 2: pads 2 on all sides, as padding=k // 2 does
    padded = np.pad(x.astype(np.int64) - zx, ((0, 0), (2, 2), (2, 2), (0, 0)))
    acc = np.einsum("nijabc,oabc->nijo", _patches(padded, 5, 5, stride=2), filters.astype(np.int64))
    return _requantized(acc + bias, m, zy)


CMSIS = "https://github.com/ARM-software/CMSIS-NN/issues/"
TVM = "https://github.com/apache/tvm/pull/4807"
TF = "https://github.com/tensorflow/tensorflow/issues/"

CASES = [
    Case(pads_with_minus_128, "conv", ("padding_lowest",), TVM),
    Case(
        scale_of_the_input_channel, "depthwise_x2", ("scales_of_the_input_channel",), "https://github.com/MegEngine/mgeconvert/pull/51",
        "The scale of channel o // multiplier is used for channel o (a new name).",
    ),
    Case(conv_in_shorts, "conv", ("sum_wraps_int16",), TF + "58987"),
    Case(im2col_channels_first, "conv", ("kernel_as_oihw",), "https://github.com/nntrainer/nntrainer/issues/1973"),
    Case(relu6_is_six, "conv_relu6", ("relu6_at_integer_6",), TF + "53763"),
    Case(convolve_as_in_scipy, "depthwise", ("kernel_flipped",), "https://stackoverflow.com/questions/78228612"),
    Case(
        partial_sums_are_rounded, "conv", ("rounded_for_each_input_channel",), CMSIS + "184",
        "The sum of each input channel is rounded by itself, and so is the bias (a new name).",
        also=(("rounded_for_each_input_channel", "bias_requantized_apart"),),
    ),
    Case(offset_folded_into_bias, "conv", ("padding_zero",), TVM),
    Case(
        dilated_but_padded_by_one, "conv_dilated", ("padding_of_plain_kernel",), "https://github.com/tensorflow/tflite-micro/issues/1646",
        "The taps are dilated; the padding in front is that of a plain kernel (a new name).",
    ),
    Case(pointwise_right, "conv_pointwise", RIGHT, CMSIS + "214"),
    Case(
        accumulates_into_the_output, "conv", ("accumulator_never_reset",), TF + "49937",
        "The accumulator goes on from one window to the next (a new name).",
    ),
    Case(
        symmetric_pad_and_stride, "conv_5_stride2", ("stride_origin",), "https://github.com/MPolaris/onnx2tflite/issues/5",
        "SAME with stride 2 pads more at the end; here it pads 2 on all sides.",
        also=(("padding_same_wrong_side",),),
    ),
]  # fmt: skip
