"""Mistakes of convolutions: padding, where windows lie, and how the kernel and the image are laid out.

Functions: `windows` (case) -> the `WindowTaps` that wrong code sees; `weights` (case, w) -> w and `input` (case, x) ->
x as in dense layers, with the weights `[out, kh * kw * c]` and the images `[n, h * w, c]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...arith.windows import WindowAxis
from ...model.types import Int64Array
from ...ops.products.convolution import Convolution
from .base import Case, Mistake
from .image_borders import BORDERS
from .taps import WindowTaps, windows_of
from .threads import (
    ESP_NN_25,
    GAP_SDK_75,
    MGECONVERT_51,
    NNTRAINER_1994,
    ONNX2TFLITE_5,
    PYTORCH_FORUM_129437,
    SO_CONVOLVE,
    TFLM_1646,
    TVM_4807,
)
from .window_shapes import (
    PAD,
    PAD_C,
    TAP,
    Shape,
    axes_of,
    dilated,
    of_windows,
    pads,
    right,
    where,
)

__all__ = ["WINDOWS"]


def _padded_unevenly(layer: Convolution) -> bool:
    return any(axis.padding(length)[0] != axis.padding(length)[1] for axis, length in axes_of(layer))


def _strided(layer: Convolution) -> bool:
    return any(axis.same and axis.stride > 1 and _plain_front(axis) != axis.padding(n)[0] for axis, n in axes_of(layer))


def _depthwise(layer: Convolution) -> bool:
    return layer.operator.name == "DEPTHWISE_CONV_2D"


def _several_taps(layer: Convolution) -> bool:
    return layer.rows.size * layer.columns.size > 1


def _ordinary(layer: Convolution) -> bool:
    return not _depthwise(layer)


def _plain_front(axis: WindowAxis) -> int:
    """The padding in front that SAME has with stride 1."""
    return (axis.reach - 1) // 2 if axis.same else 0


def _undilated_front(axis: WindowAxis, length: int) -> int:
    """The padding in front that SAME has without dilation."""
    return replace(axis, dilation=1).padding(length)[0]


def _before(front: Callable[[WindowAxis, int], int]) -> Callable[[Case], WindowTaps]:
    """WindowTaps with other padding in front of each axis."""

    def windows(case: Case) -> WindowTaps:
        layer = right(case)
        first, second = (front(axis, length) for axis, length in axes_of(layer))
        return windows_of(layer, before=(first, second))

    return windows


def _undilated(*, padding_kept: bool) -> Callable[[Case], WindowTaps]:
    def windows(case: Case) -> WindowTaps:
        layer = right(case)
        rows, columns = (replace(axis, dilation=1) for axis, _ in axes_of(layer))
        kept = tuple(axis.padding(length)[0] for axis, length in axes_of(layer))
        return windows_of(layer, axes=(rows, columns), before=(kept[0], kept[1]) if padding_kept else None)

    return windows


def _other_group(case: Case) -> WindowTaps:
    layer = right(case)
    return windows_of(layer, unit_groups=np.arange(layer.channels) % layer.groups)


def _kernel(case: Case, w: Int64Array) -> Int64Array:
    """`[out, kh, kw, c]`."""
    layer = right(case)
    return w.reshape(len(w), layer.rows.size, layer.columns.size, -1)


def _flat(w: Int64Array) -> Int64Array:
    return w.reshape(len(w), -1)


def _as_hwio(case: Case, w: Int64Array) -> Int64Array:
    out, height, width, channels = _kernel(case, w).shape
    return _flat(w.reshape(height, width, channels, out).transpose(3, 0, 1, 2))


def _as_oihw(case: Case, w: Int64Array) -> Int64Array:
    out, height, width, channels = _kernel(case, w).shape
    return _flat(w.reshape(out, channels, height, width).transpose(0, 2, 3, 1))


def _transposed(case: Case, w: Int64Array) -> Int64Array:
    out, height, width, channels = _kernel(case, w).shape
    return _flat(w.reshape(out, width, height, channels).transpose(0, 2, 1, 3))


def _depthwise_channels_first(_case: Case, w: Int64Array) -> Int64Array:
    """The file's bytes `[kh, kw, out]` read as `[out, kh, kw]`."""
    return np.ascontiguousarray(w.T).reshape(w.shape)


def _image_channels(layer: Convolution) -> bool:
    _, height, width, channels = layer.input.shape
    return channels > 1 and height * width > 1


_OHWI = "w = buffer.reshape(out, kh, kw, channels)  # OHWI"
_OHWI_C = "w[((o * kh + i) * kw + j) * channels + c]"
_HWC = "w = buffer.reshape(kh, kw, out)  # of DEPTHWISE_CONV_2D [1, kh, kw, out]"
_HWC_C = "w[(i * kw + j) * out + o]"
_NHWC = "x  # [n, h, w, c]"
_NHWC_C = "x[((n * height + y) * width + x) * channels + c]"


def _weights(
    name: str,
    why: str,
    function: Callable[[Case, Int64Array], Int64Array],
    shape: Shape,
    fixes: tuple[str, str] = (_OHWI, _OHWI_C),
    rarity: float = 2.0,
    seen: tuple[str, ...] = (),
) -> Mistake:
    return Mistake(name, "weights", why, *fixes, function, where(shape), rarity=rarity, seen=seen)


def _zero_point(layer: Convolution) -> bool:
    return pads(layer) and layer.input_zero_point != 0


WINDOWS: tuple[Mistake, ...] = (
    of_windows(
        "padding_zero",
        "the image is padded with 0; it is padded with the input's zero point, which stands for the real 0",
        lambda case: windows_of(right(case), fill=0),
        _zero_point,
        (PAD, PAD_C),
        rarity=1,
        seen=(TVM_4807,),
    ),
    of_windows(
        "padding_lowest",
        "the image is padded with the lowest value of its type; it is padded with the input's zero point",
        lambda case: windows_of(right(case), fill=-128 if case.layer.input.dtype.name == "int8" else -(1 << 15)),
        lambda layer: pads(layer) and layer.input.dtype.name == "int8" and layer.input_zero_point != -128,
        (PAD, PAD_C),
        rarity=3,
    ),
    of_windows(
        "padding_same_wrong_side",
        "the odd row or column of SAME's padding is in front; it is behind",
        _before(lambda axis, length: axis.padding(length)[1]),
        _padded_unevenly,
        rarity=1.2,
        seen=(ONNX2TFLITE_5,),
    ),
    of_windows(
        "padding_all_behind",
        "the first window begins at the image's first element; half of SAME's padding is in front",
        _before(lambda axis, length: 0),
        lambda layer: any(axis.padding(length)[0] for axis, length in axes_of(layer)),
    ),
    of_windows(
        "padding_all_in_front",
        "all of SAME's padding is in front; half of it is",
        _before(lambda axis, length: sum(axis.padding(length))),
        lambda layer: any(min(axis.padding(length)) for axis, length in axes_of(layer)),
        rarity=3,
    ),
    of_windows(
        "stride_origin",
        "windows begin where those of stride 1 do, and every stride-th is taken; SAME's padding depends on the stride",
        _before(lambda axis, length: _plain_front(axis)),
        _strided,
        rarity=1.5,
        seen=(ONNX2TFLITE_5,),
    ),
    of_windows(
        "padding_of_plain_kernel",
        "the padding in front is that of a kernel without dilation; SAME's padding depends on the dilation",
        _before(_undilated_front),
        lambda layer: any(_undilated_front(axis, n) != axis.padding(n)[0] for axis, n in axes_of(layer)),
        rarity=2,
        seen=(TFLM_1646,),
    ),
    of_windows(
        "dilation_ignored",
        "the dilation is not applied: neighbours are taken, with the padding of a plain kernel",
        _undilated(padding_kept=False),
        dilated,
        (TAP, TAP + ";"),
        rarity=1,
        seen=(TFLM_1646,),
    ),
    of_windows(
        "dilation_ignored_in_taps",
        "neighbours are taken and not every dilation-th element; the padding is right",
        _undilated(padding_kept=True),
        lambda layer: dilated(layer) and pads(layer),
        (TAP, TAP + ";"),
        rarity=1.5,
    ),
    of_windows(
        "depthwise_multiplier_order",
        "output channel o is taken from input channel o % channels; it is o // depth_multiplier",
        _other_group,
        lambda layer: 1 < layer.groups < layer.channels,
        ("x[..., o // depth_multiplier]", "c = o / depth_multiplier;"),
        seen=(MGECONVERT_51,),
    ),
    _weights(
        "kernel_flipped",
        "the kernel is turned by 180 degrees, as a mathematical convolution does; a layer correlates",
        lambda case, w: _flat(_kernel(case, w)[:, ::-1, ::-1]),
        _several_taps,
        ("acc += x[y + i, x + j] * w[o, i, j]", "acc += x[y + i][x + j] * w[i][j];  /* not w[kh - 1 - i] */"),
        rarity=1.5,
        seen=(SO_CONVOLVE,),
    ),
    _weights(
        "kernel_transposed",
        "rows and columns of the kernel are swapped",
        _transposed,
        lambda layer: min(layer.rows.size, layer.columns.size) > 1,
        rarity=2,
        seen=(PYTORCH_FORUM_129437,),
    ),
    _weights(
        "kernel_as_hwio",
        "the bytes of the weights are read as HWIO; a .tflite stores them OHWI",
        _as_hwio,
        lambda layer: _ordinary(layer) and layer.channels > 1,
        rarity=1.5,
    ),
    _weights(
        "kernel_as_oihw",
        "the bytes of the weights are read as OIHW; a .tflite stores them OHWI",
        _as_oihw,
        lambda layer: _ordinary(layer) and _several_taps(layer) and layer.weights.shape[3] > 1,
        rarity=1.5,
        seen=(NNTRAINER_1994,),
    ),
    _weights(
        "depthwise_layout",
        "the bytes of the weights are read with the channels first; they are last, [1, kh, kw, out]",
        _depthwise_channels_first,
        lambda layer: _depthwise(layer) and _several_taps(layer) and layer.channels > 1,
        (_HWC, _HWC_C),
        rarity=1.5,
        seen=(GAP_SDK_75,),
    ),
    Mistake(
        "image_read_as_nchw",
        "input",
        "the image's bytes are read as NCHW; they are NHWC",
        _NHWC,
        _NHWC_C,
        lambda case, x: x.reshape(len(x), x.shape[2], x.shape[1]).transpose(0, 2, 1),
        where(_image_channels),
        seen=(ESP_NN_25,),
        needs_images=True,
    ),
    Mistake(
        "image_stored_as_nchw",
        "input",
        "the image is stored as NCHW and read as NHWC",
        _NHWC,
        _NHWC_C,
        lambda case, x: x.transpose(0, 2, 1).reshape(x.shape),
        where(_image_channels),
        rarity=2.5,
        needs_images=True,
    ),
    *BORDERS,
)
