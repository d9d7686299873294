"""A convolution seen as the dense layer over one of its windows: every question about a dense layer can be asked of it.

An output element of CONV_2D and DEPTHWISE_CONV_2D is a dense layer's output: its depth is the window's height, times
its width, times the input channels that one output channel sees; its units are the output channels. Padding holds the
input's zero point. Where the input channels are cut into groups, each group has units of its own, and a row holds the
window of every group one behind the other; a row that holds one window stands for the same window in every group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from ...arith.fixedpoint import low_bits
from ...arith.matmul import grouped_dot
from ...model.graph import Tensor
from ...model.types import Array, Int64Array, IntArray
from ...rules.base import IntegerRule
from ...rules.requantize.fold import RequantParams
from ...rules.requantize.table import AROUND_DENSE, COMMON
from ..base import PreparedOperator
from ..dense.eight_bit import PreparedDense
from ..dense.layer import DenseLayer
from .convolution import RULES, Convolution, PreparedConvolution, folded
from .convolution_rows import flat_weights, windows_as_rows

__all__ = ["PreparedByChannels", "PreparedWindows", "WindowLayer", "integer_windows", "seen_as", "window_layer"]

Kind = TypeVar("Kind", bound=PreparedOperator)

_RIVALS = COMMON | {"float32-half_even-saturate": AROUND_DENSE["float32-half_even-saturate"]}

SEVERAL_RULES = "its outputs follow two rules, by their place in the image, so it is not one layer over its windows"


@dataclass(frozen=True, eq=False)
class WindowLayer(DenseLayer):
    """A convolution as a dense layer over its windows.

    Its `weights` are `[out, depth]`, a window's taps row by row with the channels last.

    Attributes:
        convolution: the convolution itself.
    """

    convolution: Convolution

    @property
    def stored_weights(self) -> Tensor:
        """The weights in the shape that the file has: `[out, kh, kw, c / groups]`, or `[1, kh, kw, out]`."""
        return self.convolution.weights

    @property
    def groups(self) -> int:
        """Into how many parts the input channels are cut, each with output channels of its own."""
        return self.convolution.groups

    @property
    def input_zero_point(self) -> int:
        """zx, quantized steps; 0 of real values."""
        return self.convolution.input_zero_point

    @property
    def weights_zero_point(self) -> int:
        """zw, quantized steps."""
        return self.convolution.weights_zero_point

    @property
    def taps(self) -> int:
        """Places of a window."""
        return self.convolution.rows.size * self.convolution.columns.size

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The output's shape for images `[n, h, w, c]`, or for rows of windows."""
        if len(input_shape) == 4:
            rows, columns = self.convolution.rows, self.convolution.columns
            return (input_shape[0], rows.outputs(input_shape[1]), columns.outputs(input_shape[2]), self.units)
        return (input_shape[0], self.units)

    def rows(self, x: Array) -> Array:
        """Every window of images as a row: `[n, h, w, c]` -> `[n * out_h * out_w, groups * depth]`.

        Rows of windows are given back as they are; a row that holds one window is repeated for every group.

        Raises:
            InputError: x is neither images of this convolution nor rows of its windows.
        """
        if x.ndim == 2 and x.shape[1] in (self.depth, self.groups * self.depth):
            return np.tile(x, (1, self.groups * self.depth // x.shape[1]))
        self.convolution.check(x)
        return windows_as_rows(self.convolution, x, self.input_zero_point)

    def padded(self, x: Array) -> Array:
        """Which values of the rows of images are padding: bool, as `rows` gives them."""
        return windows_as_rows(self.convolution, np.zeros(x.shape, np.int8), 1).astype(bool)


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedWindows(PreparedDense):
    """A convolution prepared for one runtime, seen as a dense layer. `evaluate` takes images, or rows of windows."""

    layer: WindowLayer

    @property
    def rivals(self) -> Mapping[str, IntegerRule]:
        """Every requantization rule that could be thought to be this layer's."""
        return AROUND_DENSE if self.layer.input.dtype.name == "int16" else _RIVALS


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedByChannels(PreparedWindows):
    """A convolution whose last channels follow another rule than the others.

    Its constants are those of the first channels' rule, for all channels.

    Attributes:
        first: the convolution as if all channels followed the first ones' rule.
        last: as if all followed the last ones'.
        end: the first channel that follows the last ones' rule.
    """

    first: PreparedDense
    last: PreparedDense
    end: int

    @property
    def parts(self) -> tuple[tuple[slice, PreparedDense], ...]:
        """The channels before `end`, and the others."""
        return ((slice(0, self.end), self.first), (slice(self.end, None), self.last))

    @property
    def equation(self) -> str:
        """Both rules in one line."""
        return RULES[self.rule]

    def following(self, params: RequantParams, acc_bits: int) -> PreparedDense:
        """The same convolution with one rule for all channels."""
        return self.first.following(params, acc_bits)


def integer_windows(prepared: PreparedConvolution) -> PreparedDense | None:
    """A convolution with an integer accumulator as a dense layer over its windows.

    None where the outputs of one channel follow two rules, and for operators that are not seen so.
    """
    layer = window_layer(prepared.convolution)
    if layer is None or any(part.outputs != "all" for part in prepared.parts):
        return None
    whole = [
        _as_windows(prepared, layer, folded(prepared.convolution, part.params.rule, 0, layer.units))
        for part in prepared.parts
    ]
    if len(whole) == 1:
        return whole[0]
    first, last = (part.following(_of_each(part.requant, layer.units), part.acc_bits) for part in whole)
    made = {entry.name: getattr(first, entry.name) for entry in fields(first)}
    joined = PreparedByChannels(**made, first=first, last=last, end=prepared.parts[1].first)
    return replace(joined, evaluate=_evaluated(prepared, layer, joined))


def _of_each(params: RequantParams, units: int) -> RequantParams:
    """The constants of every channel, where one holds for all."""
    return replace(
        params,
        effective_scale=np.broadcast_to(params.effective_scale, units),
        multiplier=np.broadcast_to(params.multiplier, units),
        shift=np.broadcast_to(params.shift, units),
    )


def _evaluated(
    prepared: PreparedConvolution, layer: WindowLayer, dense: PreparedDense
) -> Callable[[Sequence[Array]], dict[str, Array]]:
    """Every step of images, or of rows of windows."""
    bits = dense.acc_bits

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        if values[0].ndim != 2:
            return prepared.evaluate(values)
        acc = low_bits(sums(layer, layer.rows(values[0])) + layer.bias_values, bits)
        return {"acc": acc if bits == 64 else acc.astype(np.int32), **dense.requantized(acc)}

    return evaluate


def seen_as(kind: Callable[..., Kind], prepared: PreparedOperator, /, **own: Any) -> Kind:
    """An operator as a prepared one of another kind: what all kinds have, and what this one adds or replaces."""
    return kind(**{entry.name: getattr(prepared, entry.name) for entry in fields(PreparedOperator)} | own)


def _as_windows(prepared: PreparedConvolution, layer: WindowLayer, params: RequantParams) -> PreparedWindows:
    made = seen_as(
        PreparedWindows,
        prepared,
        layer=layer,
        folded_bias=layer.folded_bias,
        requant=params,
        acc_bits=params.rule.sums.bits,
    )
    return replace(made, evaluate=_evaluated(prepared, layer, made))


def window_layer(convolution: Convolution) -> WindowLayer | None:
    """The dense layer over a convolution's windows; None for other operators, such as TRANSPOSE_CONV."""
    op, weights = convolution.operator, convolution.weights
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D") or weights.data is None:
        return None
    flat = flat_weights(convolution)
    quant = None if weights.quant is None else replace(weights.quant, axis=0)
    return WindowLayer(
        operator=op,
        input=convolution.input,
        weights=replace(weights, shape=flat.shape, shape_signature=flat.shape, data=flat, quant=quant),
        bias=convolution.bias,
        output=convolution.output,
        activation=str(op.options.get("fused_activation_function", "NONE")),
        keep_num_dims=False,
        sample=(flat.shape[1],),
        transposed=None,
        convolution=convolution,
    )


def sums(layer: DenseLayer, rows: IntArray) -> Int64Array:
    """Sums of (x - zx)(w - zw) of rows `[n, groups * depth]`, before any wrap: int64 `[n, out]`."""
    x = rows.astype(np.int64) - layer.input_zero_point
    return grouped_dot(x, layer.weights_values.astype(np.int64) - layer.weights_zero_point, layer.groups)
