"""The stages that rules of operators around dense layers are made of; each of them writes one named value.

A stage reads values that earlier ones wrote, by name; these names are the steps that users see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..requantize.forms import Tie, TwoRoundings, no_meaning

__all__ = [
    "HEADROOM",
    "Affine",
    "Centered",
    "Combined",
    "CountDivision",
    "Factor",
    "Fixed16",
    "FixedBits",
    "FloatRounded",
    "FloatScaled",
    "FusedAffine",
    "Halved",
    "HighProduct",
    "Largest",
    "Product15",
    "Quantity",
    "Quotient",
    "Register",
    "Rescaled",
    "ScaledBack",
    "Shifted",
    "ShiftedRight",
    "Stage",
    "Total",
    "Weighted",
]

Register = Literal["wrap32", "wrap16", "saturate16", "wide"]
"""Where a whole number is kept: an int32 or 16 bits that wrap, 16 bits that saturate, or a register wide enough."""

Quantity = Literal[
    "s_1", "s_2", "s_y", "alpha", "count", "one_by_count", "twice_larger", "headroom", "one_by_128", "three_by_2_15"
]
"""What a factor is made of: the scales of input 1, of input 2 and of the output; LEAKY_RELU's alpha; how many elements
are reduced to one, and float32(1 / that); twice the larger input scale; 2 to the bits of `HEADROOM`; 1/128;
float32(3 / 32768), what a step of HARD_SWISH's factor is worth."""

HEADROOM = {8: 20, 16: 15}
"""Bits of an input -> by how many bits sums shift it left."""


@dataclass(frozen=True)
class Factor:
    """A real factor, made of scales: the products `times` by `by`, and that times each of `then`.

    Attributes:
        bits: of the floats that every product and the quotient are rounded to.
        times: multiplied from left to right.
        by: the same; the first product is divided by this one.
        then: what the quotient is multiplied with.
    """

    bits: Literal[32, 64]
    times: tuple[Quantity, ...]
    by: tuple[Quantity, ...]
    then: tuple[Quantity, ...] = ()


@dataclass(frozen=True)
class HighProduct:
    """The high half of a value's product with a 31-bit multiplier, rounded half up; its right shift rounds down.

    Attributes:
        shift: whether the right shift is done `before` the product or `after` it.
    """

    shift: Literal["before", "after"]


@dataclass(frozen=True)
class FixedBits:
    """A factor with so many bits after the point, rounded half even; the product is shifted right, half up.

    Attributes:
        bits: after the point.
    """

    bits: int


@dataclass(frozen=True)
class ShiftedRight:
    """A factor that is a power of two, 1 or less: a right shift.

    Attributes:
        tie: tie rule of the shift.
    """

    tie: Tie


@dataclass(frozen=True)
class Centered:
    """An input without its zero point.

    Attributes:
        step: the value that is written.
        operand: which input, from 1.
        register: where it is kept.
    """

    step: str
    operand: Literal[1, 2] = 1
    register: Register = "wide"


# What the left shift does, how the high half is rounded, and the smallest right shift.
_HIGH_HALVES = (("wrap32", "half_up", 0), ("wrap32", "floor", 1))


@dataclass(frozen=True)
class Rescaled:
    """A whole number times a factor, as a whole number.

    Attributes:
        step: the value that is written.
        of: the value that is read.
        factor: the factor.
        form: how the factor is written and how the product is rounded.
        headroom: whether the value is shifted left by `HEADROOM` first.
        negative: what a negative factor does: its multiplier is that of the magnitude and the `result` is negated, or
            the `multiplier` is negative.
        count_in_multiplier: whether the multiplier is divided by the count, rounded down, with as many bits more as the
            count has.
    """

    step: str
    of: str
    factor: Factor
    form: TwoRoundings | HighProduct | FixedBits | ShiftedRight
    headroom: bool = False
    negative: Literal["result", "multiplier"] = "result"
    count_in_multiplier: bool = False

    def __post_init__(self) -> None:
        form = self.form
        if isinstance(form, TwoRoundings) and (form.left, form.high, form.least_right) not in _HIGH_HALVES:
            raise no_meaning(
                self, "kernels around dense layers wrap the left shift; they round the high half half up, or down"
            )
        if self.count_in_multiplier and not isinstance(form, TwoRoundings):
            raise no_meaning(self, "only a multiplier of 31 bits has room for the count")


@dataclass(frozen=True)
class Combined:
    """Two whole numbers as one.

    Attributes:
        step: the value that is written.
        of: the two values that are read.
        how: their `product`, or their `sum`, which for SUB is their difference.
        register: where it is kept.
    """

    step: str
    of: tuple[str, str]
    how: Literal["sum", "product"]
    register: Register


@dataclass(frozen=True)
class Weighted:
    """Two whole numbers times a factor each, added and shifted right together, half up.

    The shift is chosen so that the larger multiplier has `bits` bits and its leading one; multipliers are rounded half
    even.

    Attributes:
        step: the value that is written.
        total: the sum before the shift, which is written too.
        of: the two values that are read.
        factors: of both.
        bits: of the multiplier, without its leading one.
    """

    step: str
    total: str
    of: tuple[str, str]
    factors: tuple[Factor, Factor]
    bits: int


@dataclass(frozen=True)
class Total:
    """The sum of the elements that are reduced to one.

    Attributes:
        step: the value that is written.
        centered: whether the zero point is subtracted from each.
    """

    step: str
    centered: bool


@dataclass(frozen=True)
class CountDivision:
    """A whole number by the count.

    Attributes:
        step: the value that is written.
        of: the value that is read.
        tie: tie rule.
    """

    step: str
    of: str
    tie: Literal["half_away"]


@dataclass(frozen=True)
class Largest:
    """The largest of the elements that are reduced to one."""

    step: str


@dataclass(frozen=True)
class Quotient:
    """A float32 input by the output's scale.

    Attributes:
        step: the value that is written.
        bits: of the float.
        by: a `division`, or a product with the rounded `inverse` of the scale, a float32.
        flush: whether subnormal inputs and factors become zero.
    """

    step: str
    bits: Literal[32, 64]
    by: Literal["division", "inverse"]
    flush: bool


@dataclass(frozen=True)
class FloatScaled:
    """A whole number as a float32, times a factor."""

    step: str
    of: str
    factor: Factor


@dataclass(frozen=True)
class Affine:
    """A float32 and an offset: what the zero points are worth, in float32.

    Attributes:
        step: the value that is written.
        of: the value that is read.
        offset: `input`: -zx * m * count; `both`: zy - (count * zx) * m; m is the factor.
        factor: the factor.
    """

    step: str
    of: str
    offset: Literal["input", "both"]
    factor: Factor


@dataclass(frozen=True)
class FusedAffine:
    """A whole number as a float32, times a factor, and an offset: rounded once, to float32.

    Attributes:
        step: the value that is written.
        of: the value that is read.
        offset: see `Affine`; that of `both` is rounded once too.
        factor: the factor.
    """

    step: str
    of: str
    offset: Literal["input", "both"]
    factor: Factor


@dataclass(frozen=True)
class FloatRounded:
    """A float as a whole number.

    Attributes:
        step: the value that is written.
        of: the value that is read.
        tie: tie rule.
        limit: what it is limited to first: nothing, or 32767, which is also what a NaN becomes.
        out_of_range: what becomes of a value that does not fit an int32 or 16 bits: INT32_MIN, which is also what a NaN
            becomes; the nearer end of 16 bits; or the `nearest32` or `nearest16` value, where a NaN becomes 0, as the
            instructions of ARM64 have it. `never`: it always fits.
    """

    step: str
    of: str
    tie: Tie
    limit: Literal["none", "int16_max"] = "none"
    out_of_range: Literal["int32_min", "saturate16", "nearest32", "nearest16", "never"] = "never"


@dataclass(frozen=True)
class Shifted:
    """A whole number shifted left."""

    step: str
    of: str
    bits: int


@dataclass(frozen=True)
class Fixed16:
    """16-bit fixed point: the high half of twice the product with a 15-bit multiplier, half up, saturating.

    The multiplier has 31 bits, rounded half up to 15.

    Attributes:
        step: the value that is written.
        of: the value that is read.
        factor: the factor.
        shift: `applied`: a left shift is done before the product, except for its last bit, which is done after it; both
            saturate. A right shift is done after it, half away. `left_out`: another stage does it.
    """

    step: str
    of: str
    factor: Factor
    shift: Literal["applied", "left_out"]


@dataclass(frozen=True)
class Halved:
    """A value in [-1, 1] with 15 bits after the point, as one in [0, 1]: with 1 added, and halved, rounded down."""

    step: str
    of: str


@dataclass(frozen=True)
class Product15:
    """The product of two values of 16 bits by 2^15, without its fraction.

    Attributes:
        step: the value that is written.
        of: the two values that are read.
        rounding: whether the fraction is cut (`truncated`), or the product goes down to a whole number (`floor`).
    """

    step: str
    of: tuple[str, str]
    rounding: Literal["truncated", "floor"] = "truncated"


@dataclass(frozen=True)
class ScaledBack:
    """A value divided by the power of two that `Fixed16` left out.

    Attributes:
        step: the value that is written.
        of: the value that is read.
        factor: the factor of that stage.
        tie: tie rule.
    """

    step: str
    of: str
    factor: Factor
    tie: Tie


Stage = (
    Centered
    | Rescaled
    | Combined
    | Weighted
    | Total
    | CountDivision
    | Largest
    | Quotient
    | FloatScaled
    | Affine
    | FusedAffine
    | FloatRounded
    | Shifted
    | Fixed16
    | Halved
    | Product15
    | ScaledBack
)
