"""A kernel: what a family of real kernels does with an operator apart from its arithmetic, as fields and predicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ...model.errors import Refusal
from ...model.graph import Model, Operator
from ...model.types import integer_type
from ...rules.hybrid.neon import pairs_of_lowest
from ...runtimes.base import Family, Refused, Runtime
from ..base import PreparedOperator
from ..dense.eight_bit import PreparedDense
from ..dense.layer import DenseLayer
from ..products.convolution import Convolution
from ..validity import FileLimits

__all__ = ["Check", "Declines", "Kernel", "bias_scale_differs", "first_refusal", "refused", "scale_product"]

Check = Callable[[PreparedOperator, Runtime], Refused | None]
"""Why a kernel does not run a prepared operator in a version of its runtime; None where it does."""

Declines = Callable[[Model, Operator, Runtime], str | None]
"""Why a delegate leaves an operator to other kernels; None where it takes it."""


@dataclass(frozen=True)
class Kernel:
    """What a family of kernels refuses, declines, ignores and reads as something else.

    Attributes:
        family: its name.
        checks: what it refuses, or runs in a way that cannot be stated; in the order in which it is told.
        version_checks: the same, of what only some versions refuse.
        declines: what it leaves to the kernels of its runtime's fallback; only delegates do.
        notes: what a user should be warned of: its known faults.
        file: what its runtime refuses or misreads of a file.
        rows_filled: the columns to which it fills the depth up, and with what, before it adds products in 16 bits
            (`Runtime.overflowing`).
        widens_uint8: whether it widens uint8 inputs before it multiplies, so that no such sum overflows.
    """

    family: Family
    checks: tuple[Check, ...]
    version_checks: tuple[Check, ...] = ()
    declines: tuple[Declines, ...] = ()
    notes: Callable[[PreparedOperator], tuple[str, ...]] = lambda prepared: ()
    file: FileLimits = field(default_factory=FileLimits)
    rows_filled: tuple[int, Literal["zeros", "zero_points"]] = (16, "zero_points")
    widens_uint8: bool = False

    def why_declined(self, model: Model, op: Operator, runtime: Runtime) -> str | None:
        """Why it leaves this operator to the fallback's kernels, or None where it takes it."""
        return next((why for declines in self.declines if (why := declines(model, op, runtime)) is not None), None)

    def lowest_weights(self, layer: Convolution) -> Refused | None:
        """8-bit convolutions with weights that, as int8, are -128: two products of such may share a sum of 16 bits."""
        if layer.input.dtype.name not in ("int8", "uint8") or layer.weights.data is None:
            return None
        if self.widens_uint8 and layer.input.dtype.name == "uint8":
            return None
        least = integer_type(layer.weights.dtype).qmin
        found = int(np.count_nonzero(layer.weights.data == least))
        filled = layer.depth % self.rows_filled[0] and layer.weights_zero_point == least
        if not found and not (filled and layer.input_zero_point == integer_type(layer.input.dtype).qmin):
            return None
        return Refused(
            Refusal.NOT_EXACT,
            f"not exact: {found} weights are the lowest value, {least}, or zero points that fill up rows are; "
            "where inputs are the lowest too, this CPU's kernel adds two products in 16 bits, which overflow. Quantize "
            "the weights so that the lowest value does not occur",
        )

    def overflowing_pairs(self, prepared: PreparedDense) -> Refused | None:
        """8-bit layers with two weights that, as int8, are -128 and whose products share a sum of 16 bits."""
        layer = prepared.layer
        if layer.input.dtype.name not in ("int8", "uint8") or layer.weights.dtype.name not in ("int8", "uint8"):
            return None
        if self.widens_uint8 and layer.input.dtype.name == "uint8":
            return None
        least = integer_type(layer.weights.dtype).qmin
        lowest = np.asarray(layer.weights_values == least)
        step, filling = self.rows_filled
        filled = filling == "zero_points" and _zero_points_are_lowest(layer)
        pairs = pairs_of_lowest(np.pad(lowest, ((0, 0), (0, -layer.depth % step)), constant_values=filled))
        if not pairs.any():
            return None
        units = np.flatnonzero(pairs.any(axis=1))
        return Refused(
            Refusal.NOT_EXACT,
            f"not exact: {int(pairs.sum())} pairs of weights in {units.size} units (first: {int(units[0])}) are the "
            f"lowest value, {least}, eight columns apart; where both inputs are the lowest too, "
            "this CPU's kernel adds their products in 16 bits, which overflow. Quantize the weights so that the lowest "
            "value does not occur (int8: -127 ... 127)",
        )


def first_refusal(checks: tuple[Check, ...], prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    """The first reason that a check finds."""
    return next((why for check in checks if (why := check(prepared, runtime)) is not None), None)


def refused(reason: str) -> Refused:
    """The real kernel refuses it, in words."""
    return Refused(Refusal.RUNTIME, reason)


def bias_scale_differs(layer: DenseLayer, precision: Literal["float32", "float64"]) -> bool:
    """Whether the bias's scale is not what LiteRT's and TensorFlow Lite Micro's kernels accept. Per-channel: any is."""
    if layer.bias is None or layer.granularity == "per_channel":
        return False
    bias_scale = 0.0 if layer.bias.quant is None else float(layer.bias.quant.scale[0])
    # Written so that a scale which is not a number differs, as in the kernels.
    return not abs(scale_product(layer, precision) - bias_scale) / float(layer.output_scale) <= 0.02


def scale_product(layer: DenseLayer, precision: Literal["float32", "float64"]) -> float:
    """Input scale times the first weights scale."""
    if precision == "float64":
        return float(layer.input_scale) * float(layer.weights_scale[0])
    with np.errstate(over="ignore", under="ignore"):
        return float(layer.input_scale * layer.weights_scale[0])


def _zero_points_are_lowest(layer: DenseLayer) -> bool:
    given, weights = integer_type(layer.input.dtype), integer_type(layer.weights.dtype)
    return layer.weights_zero_point == weights.qmin and layer.input_zero_point == given.qmin
