"""Hybrid CONV_2D and DEPTHWISE_CONV_2D: float32 in and out, int8 weights; every image is quantized at run time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import low_bits
from ...arith.matmul import grouped_dot
from ...model.errors import InputError
from ...model.types import Array
from ...rules.hybrid.finish import LayerConstants, finish_units
from ...rules.hybrid.forms import HybridConvolution, HybridRule
from ...rules.hybrid.neon import NeonLoop
from ...rules.hybrid.rows import quantize_rows
from ...rules.hybrid.rows_x86 import QuantizedRows
from ...rules.hybrid.sse_sums import faulty_signs, sums_of_weights
from ...rules.hybrid.sums import choose_loop, lost_to_overflow, overflowing_pairs
from ..base import PreparedOperator, refuse
from ..dense.hybrid import Quantizer
from .convolution_layer import Convolution
from .convolution_rows import flat_weights, windows_as_rows

__all__ = ["PreparedHybridConvolution", "Windows", "padded_with_zero_point", "prepare_hybrid_convolution"]


# Values of windows that are laid out at one time.
_VALUES = 1 << 22

Windows = Callable[[Convolution, Array, npt.NDArray[np.int64]], Array]
"""(convolution, images less their zero points, the zero points of images or pixels) -> rows `[n, groups * depth]`."""


def padded_with_zero_point(layer: Convolution, images: Array, zero_point: npt.NDArray[np.int64]) -> Array:
    """The right windows: padding stands for the real 0, which the zero point stands for too."""
    return windows_as_rows(layer, images, 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedHybridConvolution(PreparedOperator):
    """A hybrid convolution with its constants folded for one runtime.

    Attributes:
        convolution: the convolution as the file has it.
        arithmetic: the rule of its windows.
        by_pixel: whether every pixel is quantized for itself, as a row of a dense layer; else whole images are.
        parts: into how many parts a window is cut whose products share no 16-bit sum.
        constants: what finishing needs, with the sums of weights as the kernel gets them.
        weights: int64 `[out, depth]`: each output channel's window.
        quantize: what reads the rule's `Rows`. A rival that no rule describes has another one, here and in the next.
        windows: what takes windows from images less their zero points.
    """

    convolution: Convolution
    arithmetic: HybridRule
    by_pixel: bool
    parts: int
    constants: LayerConstants
    weights: npt.NDArray[np.int64]
    quantize: Quantizer = quantize_rows
    windows: Windows = padded_with_zero_point

    def with_rule(self, rule: HybridRule) -> PreparedHybridConvolution:
        """The same convolution by another rule of its windows."""
        constants = replace(self.constants, weights_sum=sums_of_weights(rule.sse_sums, self.weights))
        return replace(self, rule=rule.name, arithmetic=rule, constants=constants)

    def with_weights(self, weights: npt.NDArray[np.int64]) -> PreparedHybridConvolution:
        """The same convolution with other weights `[out, depth]`."""
        sums = sums_of_weights(self.arithmetic.sse_sums, weights)
        return replace(self, weights=weights, constants=replace(self.constants, weights_sum=sums))

    @cached_property
    def pairs(self) -> npt.NDArray[np.bool_]:
        """Where two weights of -128 share a 16-bit sum: `[out, depth]`, true at the first of the two."""
        if self.arithmetic.pairs is None:
            return np.zeros(self.weights.shape, np.bool_)
        by_part = self.weights.reshape(len(self.weights) * self.parts, -1)
        return overflowing_pairs(self.arithmetic.pairs, by_part).reshape(self.weights.shape)

    def loop(self, rows: int) -> NeonLoop | None:
        """The kernel's loop for so many output pixels, where it has several."""
        return choose_loop(self.arithmetic.loops, rows, self.convolution.channels, self.weights.shape[1])

    @property
    def wrong_signs(self) -> npt.NDArray[np.bool_]:
        """Where the kernel multiplies a negative quantized input with the wrong sign: `[out, depth]`."""
        return faulty_signs(self.arithmetic.sse_sums, self.weights)

    def rows(self, x: Array) -> Array:
        """What is quantized together, a row for each image or pixel."""
        depth = x.shape[3] if self.by_pixel else x[0].size
        return np.asarray(x, np.float32).reshape(-1, depth)

    def quantized(self, x: Array) -> QuantizedRows:
        """Images `[n, h, w, c]` quantized, in rows.

        Raises:
            InputError: there is NaN in the input.
        """
        if np.isnan(x).any():
            place = [int(i) for i in np.argwhere(np.isnan(x))[0]]
            raise InputError(
                f"{self.operator.label}: found NaN at {place} of the input. What a hybrid layer makes of it depends on "
                "the order of comparisons in the kernel's vector code, so LastBit does not state it; wanted numbers "
                "(infinities are covered)."
            )
        return self.quantize(self.arithmetic.symmetric, self.rows(x))

    def per_window(self, quantized: QuantizedRows, x: Array, *, scaled: bool = False) -> QuantizedRows:
        """What holds for each output pixel: its image's numbers, and its window, padding included: a row for each.

        Args:
            quantized: the images, quantized.
            x: the images `[n, h, w, c]`.
            scaled: whether the values in steps are wanted too, before they were rounded; else none of them are there.
        """
        layer, pixels = self.convolution, 1
        if not self.by_pixel:
            pixels = layer.rows.outputs(x.shape[1]) * layer.columns.outputs(x.shape[2])
        images = (quantized.quantized - quantized.zero_point[:, None]).reshape(x.shape)
        low, high, scale, inverse = (
            np.repeat(values, pixels) for values in (quantized.low, quantized.high, quantized.scale, quantized.inverse)
        )
        zero_point = np.repeat(quantized.zero_point, pixels)
        steps = self.windows(layer, images, quantized.zero_point) + zero_point[:, None]
        values = quantized.scaled.reshape(x.shape)
        unrounded = windows_as_rows(layer, values, 0) if scaled else values.reshape(-1, 1)[:0]
        return QuantizedRows(low, high, scale, inverse, zero_point, unrounded, steps)

    def sums(self, rows: QuantizedRows) -> npt.NDArray[np.int64]:
        """The kernel's sums of products of windows, the zero point's part included: int64 `[rows, out]`."""
        groups = self.convolution.groups
        dot = grouped_dot(rows.quantized, self.weights, groups)
        wrong = self.wrong_signs
        if wrong.any():
            dot = dot + grouped_dot(np.minimum(rows.quantized, 0), 256 * wrong.astype(np.int64), groups)
        pairs = self.arithmetic.pairs
        if pairs is not None and self.pairs.any():
            parts = zip(np.split(rows.quantized, groups, axis=1), np.split(self.pairs, groups), strict=True)
            dot = dot - np.concatenate([lost_to_overflow(pairs, found, part) for part, found in parts], axis=1)
        return low_bits(dot, 32)

    def finished(self, rows: QuantizedRows, dot: npt.NDArray[np.int64], together: int) -> dict[str, Array]:
        """The steps from the sums to the outputs, `[rows, out]`; `together`: output pixels of the whole call."""
        four_rows = self.loop(together) is NeonLoop.FOUR_ROWS
        return finish_units(self.arithmetic, self.constants, rows, dot, any_input=True, four_rows=four_rows)


def prepare_hybrid_convolution(layer: Convolution, rule: HybridConvolution) -> PreparedHybridConvolution:
    """Prepare a hybrid convolution.

    Args:
        layer: the convolution; its types are checked here.
        rule: its rule.

    Returns:
        Steps: `input_scale`, `input_zero_point` `[images]`, of windows that are pixels `[pixels]`; `quantized_input`
        `[n, h, w, c]`; `dot`, `acc`, `scaled` (where all channels have it), `with_bias`, `output`
        `[n, out_h, out_w, out]`.

    Raises:
        UnsupportedError: the element types are others, or there are neither one scale nor one for each channel.

    `evaluate` raises InputError for NaN in the input.

    Source: see `rules.hybrid.convolutions`; google-ai-edge/LiteRT tflite/delegates/xnnpack/xnnpack_delegate.cc
    @9320c268153a. That windows of one tap are quantized pixel by pixel in XNNPACK was found by probing.
    """
    _check_types(layer)
    weights = flat_weights(layer).astype(np.int64)
    assert layer.weights.quant is not None
    scales = layer.weights.quant.scale
    one_scale = bool((scales == scales[0]).all()) and layer.groups == 1
    by_pixel = rule.pixels is not None and layer.over_pixels
    chosen = rule.one if one_scale else rule.several
    if rule.pixels is not None and by_pixel:
        chosen = rule.pixels
    elif rule.one_output is not None and layer.pixels_of_image == 1:
        chosen = rule.one_output
    bias = None
    if layer.bias is not None and layer.bias.data is not None:
        bias = layer.bias.data.reshape(-1).astype(np.float32)
    sums = sums_of_weights(chosen.sse_sums, weights)
    prepared = PreparedHybridConvolution(
        operator=layer.operator,
        rule=rule.name,
        inputs=(layer.input.index,),
        evaluate=lambda values: _steps(prepared, values),
        notes=_notes(layer, chosen, weights),
        convolution=layer,
        arithmetic=chosen,
        by_pixel=by_pixel,
        parts=1 if rule.pairs_across_taps else layer.taps,
        constants=LayerConstants(
            False, str(layer.operator.options.get("fused_activation_function", "NONE")), sums, scales, bias
        ),
        weights=weights,
    )
    return prepared


def _steps(prepared: PreparedHybridConvolution, values: Sequence[Array]) -> dict[str, Array]:
    """Every step, of some images at a time."""
    layer, x = prepared.convolution, values[0]
    layer.check(x)
    taps = layer.rows.outputs(x.shape[1]) * layer.columns.outputs(x.shape[2]) * layer.rows.size * layer.columns.size
    count = max(_VALUES // (taps * x.shape[3]), 1)
    together = len(x) * layer.pixels_of_image
    parts = [_steps_of(prepared, x[first : first + count], together) for first in range(0, max(len(x), 1), count)]
    return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _steps_of(prepared: PreparedHybridConvolution, x: Array, together: int) -> dict[str, Array]:
    layer = prepared.convolution
    shape = (len(x), layer.rows.outputs(x.shape[1]), layer.columns.outputs(x.shape[2]), layer.channels)
    quantized = prepared.quantized(x)
    windows = prepared.per_window(quantized, x)
    dot = prepared.sums(windows)
    found: dict[str, Array] = {
        "input_scale": quantized.scale,
        "input_zero_point": quantized.zero_point.astype(np.int32),
        "quantized_input": quantized.quantized.reshape(x.shape).astype(np.int8),
        "dot": dot.astype(np.int32),
        **prepared.finished(windows, dot, together),
    }
    rows = ("input_scale", "input_zero_point", "quantized_input")
    return {name: value if name in rows else value.reshape(shape) for name, value in found.items()}


def _check_types(layer: Convolution) -> None:
    op, quant = layer.operator, layer.weights.quant
    found = (layer.input.dtype.name, layer.weights.dtype.name, layer.output.dtype.name)
    if found != ("float32", "int8", "float32"):
        raise refuse(op, f"input x weights -> output is {' x '.join(found[:2])} -> {found[2]}; covered: float32 x int8")
    if layer.bias is not None and layer.bias.dtype.name != "float32":
        raise refuse(op, f"the bias ({layer.bias.label}) is {layer.bias.dtype.name}, wanted float32")
    if quant is None or quant.scale.size not in (1, layer.channels):
        count = 0 if quant is None else quant.scale.size
        raise refuse(op, f"{layer.weights.label} has {count} scales, wanted 1 or {layer.channels}")
    axis = 3 if op.name == "DEPTHWISE_CONV_2D" else 0
    if quant.per_channel and quant.axis != axis:
        raise refuse(op, f"{layer.weights.label} is quantized along axis {quant.axis}, wanted {axis}")


def _notes(layer: Convolution, rule: HybridRule, weights: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """What a user must know of the kernel's faults."""
    found = []
    wrong = faulty_signs(rule.sse_sums, weights)
    if wrong.any():
        found.append(
            f"kernel fault: {int(wrong.sum())} weights are -128; wherever the quantized input is negative, the x86 "
            "kernel adds their product with the wrong sign. Quantize the weights to -127 ... 127"
        )
    lost = np.flatnonzero(sums_of_weights(rule.sse_sums, weights) != weights.sum(axis=1))
    if lost.size:
        found.append(
            f"kernel fault: the sums of the weights of {lost.size} of {layer.channels} channels overflow 16 bits, so "
            "that the input's zero point is subtracted wrongly"
        )
    return tuple(found)
