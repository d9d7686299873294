"""Convolutions and depthwise convolutions, int8. Images are [batch, height, width, channels]."""

import numpy as np

from .case import RIGHT, Case


def _windows(padded, kh, kw, stride, dilation=1):
    """[n, oh, ow, kh, kw, c]."""
    n, h, w, c = padded.shape
    oh = (h - (kh - 1) * dilation - 1) // stride + 1
    ow = (w - (kw - 1) * dilation - 1) // stride + 1
    out = np.zeros((n, oh, ow, kh, kw, c), padded.dtype)
    for i in range(oh):
        for j in range(ow):
            y, x = i * stride, j * stride
            out[:, i, j] = padded[:, y : y + kh * dilation : dilation, x : x + kw * dilation : dilation]
    return out


def conv_right(x, filters, bias, zx, zy, m):
    out = np.zeros((*x.shape[:3], len(filters)), np.int8)
    for n in range(x.shape[0]):
        for oy in range(x.shape[1]):
            for ox in range(x.shape[2]):
                for oc in range(len(filters)):
                    acc = int(bias[oc])
                    for ky in range(3):
                        for kx in range(3):
                            iy, ix = oy + ky - 1, ox + kx - 1
                            if 0 <= iy < x.shape[1] and 0 <= ix < x.shape[2]:
                                acc += int(np.sum((x[n, iy, ix].astype(int) - zx) * filters[oc, ky, kx].astype(int)))
                    out[n, oy, ox, oc] = max(-128, min(127, round(acc * float(m[oc])) + zy))
    return out


def pads_with_zero(x, filters, bias, zx, zy, m):
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(np.int32)
    patches = _windows(padded, 3, 3, 1).reshape(*x.shape[:3], -1)
    acc = (patches - zx) @ filters.reshape(len(filters), -1).astype(np.int32).T + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def pads_like_pytorch(x, filters, bias, zx, zy, m):
    padded = np.pad(x.astype(np.int32) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = _windows(padded, 3, 3, 2)
    patches = patches.reshape(*patches.shape[:3], -1)
    acc = patches @ filters.reshape(len(filters), -1).astype(np.int32).T + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def conv_by_flipping(x, filters, bias, zx, zy, m):
    padded = np.pad(x.astype(np.int32) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    flipped = filters[:, ::-1, ::-1, :].astype(np.int32)
    acc = np.einsum("nijabc,oabc->nijo", _windows(padded, 3, 3, 1), flipped) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def kernel_as_hwio(x, filters, bias, zx, zy, m):
    o, kh, kw, i = filters.shape
    kernel = filters.reshape(kh, kw, i, o).astype(np.int32)
    padded = np.pad(x.astype(np.int32) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    acc = np.einsum("nijabc,abco->nijo", _windows(padded, kh, kw, 1), kernel) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def kernel_as_oihw(x, filters, bias, zx, zy, m):
    o, kh, kw, i = filters.shape
    kernel = filters.reshape(o, i, kh, kw).astype(np.int32)
    padded = np.pad(x.astype(np.int32) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    acc = np.einsum("nijabc,ocab->nijo", _windows(padded, kh, kw, 1), kernel) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def dilation_forgotten(x, filters, bias, zx, zy, m):
    padded = np.pad(x.astype(np.int32) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    acc = np.einsum("nijabc,oabc->nijo", _windows(padded, 3, 3, 1), filters.astype(np.int32)) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def manual_conv_swaps_axes(x, filters, bias, zx, zy, m):
    # start_x walks over rows and start_y over columns, and the kernel is not turned with them
    turned = x.transpose(0, 2, 1, 3).astype(np.int32) - zx
    padded = np.pad(turned, ((0, 0), (1, 1), (1, 1), (0, 0)))
    acc = np.einsum("nijabc,oabc->njio", _windows(padded, 3, 3, 1), filters.astype(np.int32)) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def conv_truncates(x, filters, bias, zx, zy, m):
    padded = np.pad(x.astype(np.int32), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=zx)
    acc = np.einsum("nijabc,oabc->nijo", _windows(padded - zx, 3, 3, 1), filters.astype(np.int32)) + bias
    return np.clip((acc * m).astype(np.int32) + zy, -128, 127).astype(np.int8)


def conv_with_one_scale(x, filters, bias, s_x, s_w, s_y, zx, zy):
    m = s_x * s_w[0] / s_y
    padded = np.pad(x.astype(np.int32) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    acc = np.einsum("nijabc,oabc->nijo", _windows(padded, 3, 3, 1), filters.astype(np.int32)) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def conv_in_float(x, filters, bias, s_x, s_w, s_y, zx, zy):
    xf = (x.astype(np.float32) - zx) * s_x
    wf = filters.astype(np.float32) * s_w.reshape(-1, 1, 1, 1)
    padded = np.pad(xf, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = np.einsum("nijabc,oabc->nijo", _windows(padded, 3, 3, 1), wf) + bias * (s_x * s_w)
    return np.clip(np.round(y / s_y) + zy, -128, 127).astype(np.int8)


def pointwise_without_zero_point(input, w, b, zp_out, m):
    acc = input.astype(np.int32) @ w.reshape(w.shape[0], -1).astype(np.int32).T + b
    return np.clip(np.round(acc * m) + zp_out, -128, 127).astype(np.int8)


def conv_valid_relu_at_zero(x, filters, bias, zx, zy, m):
    acc = np.einsum("nijabc,oabc->nijo", _windows(x.astype(np.int32) - zx, 3, 3, 1), filters.astype(np.int32)) + bias
    return np.clip(np.rint(acc * m) + zy, 0, 127).astype(np.int8)


def depthwise_right(x, filters, bias, zx, zy, m):
    padded = np.pad(x.astype(np.int32), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=zx)
    acc = np.einsum("nijabc,abc->nijc", _windows(padded - zx, 3, 3, 1), filters[0].astype(np.int32)) + bias
    return np.clip(np.rint(acc.astype(np.float32) * m.astype(np.float32)) + zy, -128, 127).astype(np.int8)


def depthwise_pads_with_zero(x, filters, bias, zx, zy, m):
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(np.int32) - zx
    acc = np.einsum("nijabc,abc->nijc", _windows(padded, 3, 3, 1), filters[0].astype(np.int32)) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def depthwise_channels_first(x, filters, bias, zx, zy, m):
    _, kh, kw, c = filters.shape
    kernel = filters.reshape(c, kh, kw).astype(np.int32)
    padded = np.pad(x.astype(np.int32) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    acc = np.einsum("nijabc,cab->nijc", _windows(padded, kh, kw, 1), kernel) + bias
    return np.clip(np.rint(acc * m) + zy, -128, 127).astype(np.int8)


def depth_multiplier_other_way(x, filters, bias, zx, zy, m):
    c = x.shape[3]
    out = filters.shape[3]
    padded = np.pad(x.astype(np.int32) - zx, ((0, 0), (1, 1), (1, 1), (0, 0)))
    acc = np.zeros((*x.shape[:3], out), np.int64)
    for o in range(out):
        kernel = filters[0, :, :, o].astype(np.int32)
        acc[..., o] = np.einsum("nijab,ab->nij", _windows(padded, 3, 3, 1)[..., o % c], kernel)
    return np.clip(np.rint((acc + bias) * m) + zy, -128, 127).astype(np.int8)


TVM = "https://github.com/apache/tvm/pull/4807"
SAME = "https://github.com/MPolaris/onnx2tflite/issues/5"
EFFICIENT = "https://github.com/tensorflow/tensorflow/issues/104605"
MANUAL = "https://discuss.pytorch.org/t/how-does-quantized-conv2d-handle-scale-and-zero-point/129437"
CPP = "https://discuss.ai.google.dev/t/extract-quantization-parameters-used-for-convolution-layer-weights-and-perform-layer-by-layer-inference-in-c/44943"

CASES = [
    Case(conv_right, "conv", RIGHT, EFFICIENT),
    Case(
        pads_with_zero, "conv", ("padding_zero",), TVM,
        "The image is padded with 0; it must be padded with the input's zero point.",
    ),
    Case(
        pads_like_pytorch, "conv_stride2", ("padding_same_wrong_side",), SAME,
        "SAME with stride 2 pads at the end; here it pads at the start as well.",
        also=(("padding_symmetric",), ("stride_origin",)),
    ),
    Case(
        conv_by_flipping, "conv", ("kernel_flipped",), "https://stackoverflow.com/questions/78228612",
        "The kernel is turned by 180 degrees, as a mathematical convolution does.",
    ),
    Case(kernel_as_hwio, "conv", ("kernel_as_hwio",), CPP, "The bytes of the weights are read as HWIO; they are OHWI."),
    Case(
        kernel_as_oihw, "conv", ("kernel_as_oihw",), "https://github.com/nntrainer/nntrainer/issues/1973",
        "The bytes of the weights are read as OIHW; they are OHWI.",
    ),
    Case(
        dilation_forgotten, "conv_dilated", ("dilation_ignored",), "https://github.com/tensorflow/tflite-micro/issues/1646",
        "The dilation is not applied; the padding is that of a plain kernel.",
    ),
    Case(
        manual_conv_swaps_axes, "conv", ("kernel_transposed",), MANUAL,
        "Rows and columns of the kernel are swapped.",
    ),
    Case(conv_truncates, "conv", ("rounding_truncated",), "https://github.com/tensorflow/tensorflow/issues/53370"),
    Case(conv_with_one_scale, "conv", ("scales_first_for_all",), CPP),
    Case(
        conv_in_float, "conv", ("calculated_in_real_numbers",), MANUAL, "Real numbers in another order.",
        also=(RIGHT, ("calculated_in_real_numbers_float64",)),
    ),
    Case(
        pointwise_without_zero_point, "conv_pointwise", ("input_zero_point_missing",),
        "https://github.com/tensorflow/tensorflow/issues/49937",
    ),
    Case(conv_valid_relu_at_zero, "conv_valid", ("activation_without_zero_point",), EFFICIENT),
    Case(depthwise_right, "depthwise", RIGHT, EFFICIENT),
    Case(
        depthwise_pads_with_zero, "depthwise", ("padding_zero",), "https://github.com/apache/tvm/pull/4816",
        "The image is padded with 0; it must be padded with the input's zero point.",
    ),
    Case(
        depthwise_channels_first, "depthwise", ("depthwise_layout",), "https://github.com/GreenWaves-Technologies/gap_sdk/issues/75",
        "The bytes of the weights are read with channels first; they are last.",
    ),
    Case(
        depth_multiplier_other_way, "depthwise_x2", ("depthwise_multiplier_order",), "https://github.com/MegEngine/mgeconvert/pull/51",
        "Output channel o is taken from input channel o % channels; it is o // depth multiplier.",
    ),
]  # fmt: skip
