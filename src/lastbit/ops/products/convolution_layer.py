"""A convolution as its file has it, and what kernels choose by: windows, groups, filters, rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...arith.windows import WindowAxis
from ...model.errors import InputError
from ...model.graph import Operator, Tensor
from ...model.types import Array

__all__ = ["Convolution"]


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution as its file has it.

    Attributes:
        operator: the operator.
        input: `[n, h, w, c]`.
        weights: CONV_2D `[out, kh, kw, c / groups]`, DEPTHWISE_CONV_2D `[1, kh, kw, out]`.
        bias: `[out]`, or None.
        output: `[n, out_h, out_w, out]`.
        rows: the window along the height.
        columns: the window along the width.
    """

    operator: Operator
    input: Tensor
    weights: Tensor
    bias: Tensor | None
    output: Tensor
    rows: WindowAxis
    columns: WindowAxis

    @property
    def input_zero_point(self) -> int:
        """zx, which is also what padding is made of; 0 of real values."""
        return _zero_point(self.input)

    @property
    def weights_zero_point(self) -> int:
        """zw; 0 for int8, whose kernels take no other."""
        return _zero_point(self.weights)

    @property
    def channels(self) -> int:
        """Output channels."""
        return self.weights.shape[3] if self.operator.name == "DEPTHWISE_CONV_2D" else self.weights.shape[0]

    @property
    def groups(self) -> int:
        """Into how many parts the input channels are cut, each seen by its own output channels."""
        own = self.operator.name == "DEPTHWISE_CONV_2D"
        return self.input.shape[3] if own else self.input.shape[3] // self.weights.shape[3]

    def depthwise(self, most_taps: int) -> bool:
        """Whether XNNPACK has a depthwise kernel for it: few taps, and every output channel has its input channel.

        Source: google/XNNPACK, src/operators/convolution-nhwc.c; both sides of the limit run, 25 and 26 taps.
        """
        taps = self.weights.shape[1] * self.weights.shape[2]
        return self.groups == self.channels == self.input.shape[3] and taps <= most_taps

    @property
    def over_pixels(self) -> bool:
        """Whether XNNPACK takes it for a dense layer over pixels: one tap, stride 1, no groups, not one channel to one.

        Found by probing: hybrid ones are quantized pixel by pixel, and of int8 ones with one scale KleidiAI's kernels
        for SME take none.
        """
        one_tap = (self.rows.size, self.columns.size, self.rows.stride, self.columns.stride) == (1, 1, 1, 1)
        return one_tap and self.groups == 1 and not self.depthwise(most_taps=1)

    def three_by_three(self, channels: int) -> bool:
        """Whether LiteRT's builtin kernels on ARM64 have one of their own for it: see `ThreeByThree`.

        Source: google-ai-edge/LiteRT, tflite/kernels/internal/optimized/depthwiseconv_3x3_filter_common.h
        (Fast3x3FilterKernelSupported).
        """
        if not self.filter_three_by_three(channels):
            return False
        height, width = self.input.shape[1:3]
        before = self.rows.padding(height)[0], self.columns.padding(width)[0]
        if before[0] != before[1] or before[0] > 1 or (1 in (height, width) and before[0] and height != width):
            return False
        past = [
            (axis.outputs(size) - 1) * axis.stride - before[0] + 3 - size
            for axis, size in ((self.rows, height), (self.columns, width))
        ]
        return max(past) <= before[0] and self.largest_factor < 1

    def filter_three_by_three(self, channels: int) -> bool:
        """Whether it is depthwise with 3 * 3 taps, equal strides of 1 or 2, no dilation, whole groups of channels."""
        return (
            self.groups == self.channels == self.input.shape[3]
            and self.channels % channels == 0
            and (self.rows.size, self.columns.size) == (3, 3)
            and (self.rows.dilation, self.columns.dilation) == (1, 1)
            and self.rows.stride == self.columns.stride <= 2
        )

    @property
    def pixels(self) -> int:
        """Output pixels of one call: rows of the matrix product that CONV_2D is."""
        return self.input.shape[0] * self.pixels_of_image

    @property
    def pixels_of_image(self) -> int:
        """Output pixels of one image."""
        height, width = self.input.shape[1:3]
        return self.rows.outputs(height) * self.columns.outputs(width)

    @property
    def taps(self) -> int:
        """Places of the window."""
        return self.rows.size * self.columns.size

    @property
    def depth(self) -> int:
        """Products of one output element of CONV_2D."""
        return math.prod(self.weights.shape[1:])

    @property
    def largest_factor(self) -> float:
        """The largest s_x * s_w / s_y."""
        assert self.input.quant is not None
        assert self.weights.quant is not None
        assert self.output.quant is not None
        scales = self.weights.quant.scale.astype(np.float64)
        return float(self.input.quant.scale[0]) * float(scales.max()) / float(self.output.quant.scale[0])

    @property
    def bias_values(self) -> npt.NDArray[np.int64]:
        """The bias, or zeros: int64 `[out]`."""
        if self.bias is None or self.bias.data is None:
            return np.zeros(self.channels, np.int64)
        return self.bias.data.reshape(-1).astype(np.int64)

    @property
    def geometry(self) -> dict[str, int]:
        """The window and where it lies, in plain numbers; padding is in front of the image and behind it."""
        (top, bottom), (left, right) = (
            axis.padding(length) for axis, length in zip((self.rows, self.columns), self.input.shape[1:3], strict=True)
        )
        return {
            "input_height": self.input.shape[1],
            "input_width": self.input.shape[2],
            "input_channels": self.input.shape[3],
            "kernel_height": self.rows.size,
            "kernel_width": self.columns.size,
            "stride_height": self.rows.stride,
            "stride_width": self.columns.stride,
            "dilation_height": self.rows.dilation,
            "dilation_width": self.columns.dilation,
            "padding_top": top,
            "padding_bottom": bottom,
            "padding_left": left,
            "padding_right": right,
            "groups": self.groups,
        }

    def check(self, x: Array) -> None:
        """Raise InputError for an array that is no batch of this operator's images."""
        if x.ndim != 4 or x.shape[1:] != self.input.shape[1:]:
            raise InputError(
                f"{self.operator.label}: found an input of shape {list(x.shape)}, wanted {list(self.input.shape)} "
                "(the first dimension may be any)"
            )


def _zero_point(tensor: Tensor) -> int:
    if tensor.dtype.name == "float32":
        return 0
    assert tensor.quant is not None, tensor.label  # convolution() has refused anything else
    return int(tensor.quant.zero_point[0])
