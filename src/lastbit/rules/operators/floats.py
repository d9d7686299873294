"""Rules of the operators around dense layers that are float32 throughout, as data: which operations, in which order.

Names and equations are printed, and never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

__all__ = [
    "ARITHMETIC",
    "COMPARISONS",
    "POOL_LARGEST",
    "POOL_MEAN",
    "REDUCTIONS",
    "RELUS",
    "SLOPES",
    "SWISHES",
    "FloatArithmetic",
    "FloatClamp",
    "FloatComparison",
    "FloatInOrder",
    "FloatLargest",
    "FloatSlope",
    "FloatSwish",
    "NamedFloat",
    "Zeros",
    "float_equations",
    "table_of",
]


Zeros = Literal["kept", "ordered"]
"""Which of 0.0 and -0.0 comes out where the two are compared."""


@dataclass(frozen=True)
class NamedFloat:
    """A rule's name, and its equation in one line of text."""

    name: str = field(compare=False)
    equation: str = field(compare=False, repr=False)


@dataclass(frozen=True)
class FloatArithmetic(NamedFloat):
    """One float32 operation, and the clamp of the fused activation.

    Attributes:
        flush: whether subnormals of input and result become zero.
        finite: whether bounds are finite: where there is none, the largest finite number is one.
        zeros: what the clamp makes of -0.0 at a lower bound of 0.0: it is `kept`, or is below 0.0 (`ordered`), as the
            vector instructions of ARM64 have it.
        group: of so many elements, in each run of the innermost loop, zeros are treated so; the rest are kept. 1: all.
        broadcast: whether there are groups where the two shapes differ.
    """

    flush: bool
    finite: bool
    zeros: Zeros = "kept"
    group: int = 1
    broadcast: bool = True


@dataclass(frozen=True)
class FloatComparison(NamedFloat):
    """The larger or the smaller of two numbers.

    Attributes:
        flush: whether subnormals become zero; of two zeros the second is taken, or with `flush` the first where the
            first input has one element along the innermost axis.
        zeros: whether of two zeros such a one is taken (`kept`), or -0.0 is the smaller of the two (`ordered`).
    """

    flush: bool
    zeros: Zeros = "kept"


@dataclass(frozen=True)
class FloatClamp(NamedFloat):
    """A clamp; NaN stays.

    Attributes:
        flush: whether subnormals become zero first.
        zeros: see `FloatArithmetic`.
        group: of so many elements, in flat order, zeros are treated so; those beyond whole groups are kept. 1: all.
    """

    flush: bool
    zeros: Zeros = "kept"
    group: int = 1


@dataclass(frozen=True)
class FloatSlope(NamedFloat):
    """LEAKY_RELU: the number, or its product with alpha.

    Attributes:
        below: which numbers are multiplied: those that are not above zero, those with the sign bit set, or those below
            zero, for which a subnormal counts as zero.
        flush: whether a subnormal product becomes zero.
    """

    below: Literal["not_above_zero", "sign_bit", "below_zero"]
    flush: bool


@dataclass(frozen=True)
class FloatSwish(NamedFloat):
    """HARD_SWISH: x times a factor r, which is x + 3 between 0 and 6, by 6.

    Attributes:
        sixth: `divided`: (x * r) / 6; `last`: (x * r) * c, c = float32(1/6), and (x * c) * r in whole groups; `fused`:
            r is fma(x, c, 1/2) between 0 and 1, and subnormals become zero.
        group: elements of one group, 0 where there are none.
    """

    sixth: Literal["divided", "last", "fused"]
    group: int = 0


@dataclass(frozen=True)
class FloatInOrder(NamedFloat):
    """A sum in the order in which the elements lie; for a mean, divided by the count at last."""


@dataclass(frozen=True)
class FloatLargest(NamedFloat):
    """The largest number; of two zeros the first.

    Attributes:
        group: of so many outputs of one pixel that begin at a multiple of it in the output array, 0.0 is larger than
            -0.0, as in vector instructions of ARM64. 0: of none.
    """

    group: int = 0


R = TypeVar("R", bound=NamedFloat)


def table_of(*rules: R) -> dict[str, R]:
    """Name -> rule."""
    return {rule.name: rule for rule in rules}


def float_equations(rules: Mapping[str, R]) -> dict[str, str]:
    """Name -> rule in one line of text."""
    return {name: rule.equation for name, rule in rules.items()}


ARITHMETIC = table_of(
    FloatArithmetic(
        "float32",
        "one float32 operation, then min(max(y, low), high); bounds are finite: an infinite result becomes the "
        "largest number",
        flush=False,
        finite=True,
    ),
    FloatArithmetic(
        "float32_flush",
        "the same with infinite bounds; subnormals of input and result become zero",
        flush=True,
        finite=False,
    ),
    FloatArithmetic(
        "float32/ordered_zeros",
        "as float32; -0.0 is below a bound of 0.0",
        flush=False,
        finite=True,
        zeros="ordered",
    ),
    FloatArithmetic(
        "float32/vector4_ordered_zeros",
        "as float32; -0.0 is below a bound of 0.0 in whole groups of 4 of an inner loop, the rest keep it",
        flush=False,
        finite=True,
        zeros="ordered",
        group=4,
    ),
    FloatArithmetic(
        "float32/vector4_of_one_shape_ordered_zeros",
        "as float32; -0.0 is below a bound of 0.0 in whole groups of 4, the rest and inputs of two shapes keep it",
        flush=False,
        finite=True,
        zeros="ordered",
        group=4,
        broadcast=False,
    ),
    FloatArithmetic(
        "float32_flush/ordered_zeros",
        "as float32_flush; -0.0 is below a bound of 0.0",
        flush=True,
        finite=False,
        zeros="ordered",
    ),
)

COMPARISONS = table_of(
    FloatComparison(
        "compare",
        "the larger (MAXIMUM) or smaller (MINIMUM) number; nothing is rescaled; of two zeros the second",
        flush=False,
    ),
    FloatComparison(
        "compare_flush",
        "the same for float32: subnormals become zero; of two zeros the second, or the first where the first input has "
        "one element along the innermost axis",
        flush=True,
    ),
    FloatComparison(
        "compare_flush/ordered_zeros",
        "the larger or smaller float32: subnormals become zero; -0.0 is smaller than 0.0",
        flush=True,
        zeros="ordered",
    ),
)

RELUS = table_of(
    FloatClamp("float32_clamp", "y = min(max(x, low), high); NaN and -0.0 stay", flush=False),
    FloatClamp("float32_clamp_flush", "the same; subnormals become zero first", flush=True),
    FloatClamp(
        "float32_clamp/ordered_zeros",
        "y = min(max(x, low), high); NaN stays, -0.0 is below a bound of 0.0",
        flush=False,
        zeros="ordered",
    ),
    FloatClamp(
        "float32_clamp/vector4_ordered_zeros",
        "y = min(max(x, low), high); NaN stays, -0.0 is below a bound of 0.0 in whole groups of 4, the rest keep it",
        flush=False,
        zeros="ordered",
        group=4,
    ),
    FloatClamp(
        "float32_clamp_flush/ordered_zeros",
        "the same; subnormals become zero first",
        flush=True,
        zeros="ordered",
    ),
)

SLOPES = table_of(
    FloatSlope("float32", "y = x above 0, else x * alpha in float32", "not_above_zero", flush=False),
    FloatSlope(
        "float32_by_sign_flush",
        "y = x, or x * alpha in float32 where the sign bit is set; subnormals of that become zero",
        "sign_bit",
        flush=True,
    ),
    FloatSlope("float32_below_zero_flush", "the same where x < 0 and x is not subnormal", "below_zero", flush=True),
)

SWISHES = table_of(
    FloatSwish("float32_division", "y = (x * r) / 6 in float32, r = min(max(x + 3, 0), 6)", "divided"),
    FloatSwish(
        "float32_vector4",
        "whole groups of 4: y = (x * c) * r, the rest: y = (x * r) * c in float32, c = float32(1/6)",
        "last",
        group=4,
    ),
    FloatSwish(
        "float32_fused_flush",
        "y = x * min(max(fma(x, c, 1/2), 0), 1) in float32; subnormals become zero",
        "fused",
    ),
)

REDUCTIONS = table_of(
    FloatInOrder(
        "float32_in_order",
        "y = sum (for MEAN by count), added in the order in which the elements lie, all float32",
    )
)

POOL_MEAN = table_of(
    FloatInOrder(
        "float32_in_order",
        "y = clamp(sum / count), added row by row from left to right in float32; finite bounds",
    )
)

_LARGEST = "y = clamp(max) in float32; finite bounds; of two zeros the first"
POOL_LARGEST = table_of(
    FloatLargest("float32_first", _LARGEST),
    FloatLargest(
        "float32_vector4_ordered_zeros",
        f"{_LARGEST}, or 0.0 in outputs 4k to 4k + 3 of the array that are channels of one pixel",
        group=4,
    ),
)
