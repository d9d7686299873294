"""One output element of a dense layer as numbers: every integer, scale and rounding step.

Each is compared with what the engine recorded. This is data; `text` and `latex` render it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from ...arith.exact import ExactStep, decimal_text, low_bits, split_fraction
from ...layers.differences import steps_of
from ...model.types import Array, hex_float
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.layer import DenseLayer
from ...rules.base import NEIGHBOURS, Pairs
from ...rules.sums.exact import PairSum, pair_sums
from ...rules.sums.words import PairsWords, pairs_words
from ...runtimes import Runtime

__all__ = ["Element", "decimal_text", "float_data", "fraction_data", "make_element"]


@dataclass(frozen=True, eq=False)
class Element:
    """One output element and the numbers it is made of.

    Attributes:
        runtime: the runtime.
        prepared: the layer, prepared for it.
        row: the row of the input matrix, from 0.
        unit: the output unit: the row of the weights, from 0.
        rows: how many rows the input matrix has.
        x: the quantized inputs of this row, `[depth]`.
        w: the quantized weights of this unit, `[depth]`.
        steps: from the scales to the output, as `exact_requantize` records them.
    """

    runtime: Runtime
    prepared: PreparedDense
    row: int
    unit: int
    rows: int
    x: tuple[int, ...]
    w: tuple[int, ...]
    steps: tuple[ExactStep, ...]

    @property
    def label(self) -> str:
        """How errors call it."""
        return f"{self.layer.operator.label}, element (row {self.row}, unit {self.unit})"

    @property
    def layer(self) -> DenseLayer:
        """The layer as the file has it."""
        return self.prepared.layer

    @property
    def products(self) -> tuple[int, ...]:
        """(x - zx)(w - zw) for each k."""
        zx, zw = self.layer.input_zero_point, self.layer.weights_zero_point
        return tuple((x - zx) * (w - zw) for x, w in zip(self.x, self.w, strict=True))

    @property
    def dot(self) -> int:
        """Sum of x * w, nothing subtracted."""
        return sum(x * w for x, w in zip(self.x, self.w, strict=True))

    @property
    def bias(self) -> int:
        """This unit's bias, 0 where the layer has none."""
        return int(self.layer.bias_values[self.unit])

    @property
    def folded_bias(self) -> int:
        """The part of acc that no input changes: bias - zx * sum(w) + depth * zx * zw."""
        zx, zw = self.layer.input_zero_point, self.layer.weights_zero_point
        return self.bias - zx * sum(self.w) + self.layer.depth * zx * zw

    @property
    def total(self) -> int:
        """The sum of the products plus the bias, before the accumulator's register wraps it."""
        return sum(self.products) + self.bias

    @cached_property
    def overflowing(self) -> list[PairSum]:
        """The pairs of products that do not fit, where the kernel adds two in 16 bits; most rules: none."""
        products, pairs = self.prepared.products, self.prepared.pairs
        if pairs is None or not isinstance(products, Pairs):
            return []
        x, w = [v + pairs.input_up for v in self.x], [v + pairs.weights_up for v in self.w]
        return [pair for pair in pair_sums(products, x, w) if pair.kept != pair.total]

    @property
    def pairs_words(self) -> PairsWords:
        """What its pairs are called; of a layer that has none, what those of most kernels are called."""
        products = self.prepared.products
        return pairs_words(products if isinstance(products, Pairs) else NEIGHBOURS)

    @property
    def lost(self) -> int:
        """What pairs that do not fit change of the accumulator: 0 almost everywhere."""
        return sum(pair.kept - pair.total for pair in self.overflowing)

    @property
    def acc(self) -> int:
        """The accumulator: `total`, less what pairs lose, in a register of `acc_bits` bits (modulo 2^32 mostly)."""
        return low_bits(self.total + self.lost, self.prepared.acc_bits)

    @property
    def channel(self) -> int:
        """Which of the weights' scales belongs to this unit."""
        return self.unit if self.layer.granularity == "per_channel" else 0

    @property
    def scales(self) -> tuple[float, float, float]:
        """s_x, this unit's s_w, and s_y: the stored float32 values, exact."""
        layer = self.layer
        return float(layer.input_scale), float(layer.weights_scale[self.channel]), float(layer.output_scale)

    @property
    def given(self) -> bool:
        """Whether the layer is given by multiplier and shift: the scales stand for others then, and are not shown."""
        return self.layer.given is not None

    @property
    def exact_scale(self) -> Fraction:
        """s_x * s_w / s_y without any rounding."""
        sx, sw, sy = map(Fraction, self.scales)
        return sx * sw / sy

    @property
    def multiplier_and_shift(self) -> tuple[int, int] | None:
        """Multiplier q and shift of a fixed-point rule, None for the floating-point rules."""
        if not any(step.name == "multiplier" for step in self.steps):
            return None
        return int(self.step("multiplier").value), int(self.step("shift").value)

    @property
    def reduced_multiplier(self) -> int | None:
        """The multiplier of 15 bits, for the rule that rounds q to that, else None."""
        return next((int(step.value) for step in self.steps if step.name == "multiplier_q15"), None)

    @property
    def real_factor(self) -> Fraction:
        """The factor that is really applied: q * 2^(shift-31), q15 * 2^(shift-15), or the effective scale."""
        pair = self.multiplier_and_shift
        if pair is not None and self.reduced_multiplier is not None:
            return self.reduced_multiplier * Fraction(2) ** (pair[1] - 15)
        return self.step("effective_scale").value if pair is None else pair[0] * Fraction(2) ** (pair[1] - 31)

    @property
    def frexp(self) -> tuple[Fraction, int]:
        """The effective scale as (fraction in [1/2, 1), exponent)."""
        return split_fraction(self.step("effective_scale").value)

    @property
    def output(self) -> int:
        """The output, quantized."""
        return int(self.steps[-1].value)

    @property
    def clamped(self) -> bool:
        """Whether a clamp changed the value, before or after the zero point was added."""
        return any(step.effect == "clamp" for step in self.steps)

    @property
    def real_output(self) -> Fraction:
        """The real value that the output stands for: s_y * (y - zy), exact."""
        return Fraction(self.scales[2]) * (self.output - self.layer.output_zero_point)

    def step(self, name: str) -> ExactStep:
        """The step of this name."""
        return next(step for step in self.steps if step.name == name)


def make_element(
    runtime: Runtime, prepared: PreparedDense, matrix: Array, trace: Mapping[str, Array], row: int, unit: int
) -> Element:
    """Take one element apart, and check each number against what the engine recorded.

    Args:
        runtime: the runtime.
        prepared: the layer, prepared for it.
        matrix: the layer's input as `[rows, depth]`.
        trace: the engine's steps for this input.
        row: the element's row.
        unit: the element's unit.

    Raises:
        RuntimeError: the engine and the exact arithmetic disagree, which is a fault in LastBit.
    """
    layer = prepared.layer
    draft = Element(
        runtime,
        prepared,
        row,
        unit,
        matrix.shape[0],
        tuple(int(v) for v in matrix[row]),
        tuple(int(v) for v in layer.weights_values[unit]),
        (),
    )
    element = replace(draft, steps=tuple(steps_of(prepared, draft.acc, unit)))
    _check(element, trace)
    return element


def _check(element: Element, trace: Mapping[str, Array]) -> None:
    """Hold every number that both the engine and the exact arithmetic have against each other."""
    prepared, units = element.prepared, element.layer.units
    pairs: list[tuple[str, Any, Fraction | int]] = [
        ("folded_bias", prepared.folded_bias[element.unit], element.folded_bias),
        ("acc", trace["acc"][element.row, element.unit], element.acc),
    ]
    if isinstance(prepared.products, Pairs):
        words = element.pairs_words
        for name, number in ((words.lost_step, element.lost), (words.count_step, len(element.overflowing))):
            pairs.append((name, trace[name][element.row, element.unit], number))
    for step in element.steps:
        if step.name in ("effective_scale", "multiplier", "shift"):
            folded = np.broadcast_to(getattr(prepared.requant, step.name), (units,))
            pairs.append((step.name, folded[element.unit], step.value))
        elif step.name in trace:
            values = np.asarray(trace[step.name]).reshape(-1, units)
            pairs.append((step.name, values[element.row, element.unit], step.value))
    for name, fast, exact in pairs:
        if not _same(fast, exact):
            raise RuntimeError(
                f"{element.label}, rule {prepared.rule}: {name} is {fast.item()} in the engine and "
                f"{decimal_text(Fraction(exact))} in exact arithmetic. "
                "This is a fault in LastBit, not in your model: please report it, with the model."
            )


def _same(fast: np.generic, exact: Fraction | int) -> bool:
    """Whether two numbers are one; fractions have no infinity, and are beyond every finite float there."""
    value = fast.item()
    if isinstance(fast, np.floating) and np.isinf(value):
        largest = Fraction(float(np.finfo(fast.dtype).max))
        return exact > largest if value > 0 else exact < -largest
    return Fraction(value) == exact


def float_data(value: float) -> dict[str, str]:
    """A binary floating-point number for JSON: its exact decimal expansion, and C99 hexadecimal.

    >>> float_data(0.09375)
    {'decimal': '0.09375', 'hex': '0x1.8000000000000p-4'}
    """
    return {"decimal": f"{Decimal(float(value)):f}", "hex": hex_float(value)}


def fraction_data(value: Fraction | int) -> dict[str, int | float]:
    """A rational number for JSON: numerator, denominator, and the nearest float64 to look at.

    >>> fraction_data(Fraction(-5, 2))
    {'numerator': -5, 'denominator': 2, 'float': -2.5}
    """
    exact = Fraction(value)
    return {"numerator": exact.numerator, "denominator": exact.denominator, "float": float(exact)}
