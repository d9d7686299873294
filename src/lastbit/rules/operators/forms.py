"""What the rules of operators around dense layers are made of: stages, each of which writes one named value.

A rule is a list of stages and the last of them, `Output`. A stage reads values that earlier ones wrote, by name; these
names are the steps that users see. Where a kernel treats some elements, channels or scales otherwise, the rule is a
`Choice` of two, with its condition as fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..base import Bounds, ChannelGroups
from ..requantize.forms import Tie, TwoRoundings

__all__ = [
    "HEADROOM",
    "Affine",
    "Centered",
    "Choice",
    "Combined",
    "Condition",
    "CountDivision",
    "ElementGroups",
    "Factor",
    "Fixed16",
    "FixedBits",
    "FloatRounded",
    "FloatScaled",
    "Halved",
    "HeightAndWidth",
    "HighProduct",
    "InnerGroups",
    "Largest",
    "NotNegative",
    "Output",
    "PowersOfTwo",
    "Product15",
    "Quantity",
    "Quotient",
    "RealOutput",
    "Register",
    "Rescaled",
    "ScaledBack",
    "Shifted",
    "ShiftedRight",
    "Stage",
    "Staged",
    "StagedRule",
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
        by: likewise; the first product is divided by this one.
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
class FloatRounded:
    """A float as a whole number.

    Attributes:
        step: the value that is written.
        of: the value that is read.
        tie: tie rule.
        limit: what it is limited to first: nothing, or 32767, which is also what a NaN becomes.
        out_of_range: what becomes of a value that does not fit an int32 or 16 bits: INT32_MIN, which is also what a NaN
            becomes; or the nearer end of 16 bits. `never`: it always fits.
    """

    step: str
    of: str
    tie: Tie
    limit: Literal["none", "int16_max"] = "none"
    out_of_range: Literal["int32_min", "saturate16", "never"] = "never"


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
        shift: `applied`: a left shift is done before the product, but for its last bit, which is done after it; both
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
    """

    step: str
    of: tuple[str, str]


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
    | FloatRounded
    | Shifted
    | Fixed16
    | Halved
    | Product15
    | ScaledBack
)


@dataclass(frozen=True)
class Output:
    """The last stage: the output's zero point is added, and the sum is clamped.

    Attributes:
        of: the value that is read; `input` is the operator's input as it is.
        add: the zero point's register; `nothing` where none is added, `rounded_offset` where what is added is
            zy - round_half_away(zx * s_1 / s_y), all float32.
        keep: where the value is kept before.
        bounds: tie rule of the bounds of an activation.
        domain: whose quantization the bounds are in: the output's, or the input's, whose zero point is then the lower
            bound.
    """

    of: str
    add: Register | Literal["nothing", "rounded_offset"]
    keep: Register = "wide"
    bounds: Bounds = "half_away"
    domain: Literal["output", "input"] = "output"


@dataclass(frozen=True)
class RealOutput:
    """The last stage of an operator that gives float32.

    Attributes:
        of: the value that is read; `input` is the operator's input as it is.
        way: `difference`: the input without its zero point, times its scale; `product_plus_offset`: the input times its
            scale, plus the zero point's own product; `widened`: the same number, which float32 has. All in float32.
    """

    of: str
    way: Literal["difference", "product_plus_offset", "widened"]


@dataclass(frozen=True)
class Staged:
    """A rule that is a list of stages.

    Attributes:
        name: what users know it by. It is printed and never read.
        stages: in order.
        output: the last one.
        types: element types of the input that kernels of this rule have; empty: all of the operator.
        fits_int32: whether only sums are stated that fit an int32 once they are scaled.
        symmetric_int16: whether kernels of this rule refuse int16 with a zero point that is not 0.
    """

    name: str = field(compare=False)
    stages: tuple[Stage, ...]
    output: Output | RealOutput
    types: tuple[str, ...] = ()
    fits_int32: bool = False
    symmetric_int16: bool = True


@dataclass(frozen=True)
class ElementGroups:
    """The elements of a sample, in flat order, that fill whole groups; the last ones follow the other rule.

    Attributes:
        elements: of one group.
    """

    elements: int


@dataclass(frozen=True)
class InnerGroups:
    """The outputs of one run of an inner loop over two inputs that fill whole groups.

    Attributes:
        elements: of one group.
        types: element types whose kernel has such a loop.
        one_element: whether one of the inputs is a single element in it.
        broadcast: whether the inputs may have shapes that differ.
    """

    elements: int
    types: tuple[str, ...]
    one_element: Literal["yes", "no", "either"]
    broadcast: bool = True


@dataclass(frozen=True)
class NotNegative:
    """The elements at which a value is 0 or more.

    Attributes:
        of: the value.
    """

    of: str


@dataclass(frozen=True)
class HeightAndWidth:
    """A reduction of four dimensions over the second and the third, which stay as dimensions of one element."""


@dataclass(frozen=True)
class PowersOfTwo:
    """All scales are powers of two, and the operator's option `pot_scale_int16` is set.

    Attributes:
        nearness: how far from a whole number the logarithm may be, in thousandths.
    """

    nearness: int


Condition = ElementGroups | InnerGroups | NotNegative | HeightAndWidth | PowersOfTwo | ChannelGroups


@dataclass(frozen=True)
class Choice:
    """A choice of two rules.

    Attributes:
        name: what users know the choice by. It is printed and never read.
        when: which elements, channels or scales follow the first.
        then: what they follow.
        otherwise: what all others follow.
        types: see `Staged`.
    """

    name: str = field(compare=False)
    when: Condition
    then: Staged | Choice
    otherwise: Staged | Choice
    types: tuple[str, ...] = ()


StagedRule = Staged | Choice
"""What the readers take."""
