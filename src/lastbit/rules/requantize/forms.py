"""The three forms that requantization has, as data. Every value of every field means something to every reader.

Combinations of values that mean nothing are refused when they are made, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

__all__ = [
    "Add",
    "Bias",
    "ClampOrder",
    "Float",
    "Meaningless",
    "OneRounding",
    "Requantize",
    "Tie",
    "TwoRoundings",
    "WideAdd",
    "no_meaning",
    "values_of",
]

Tie = Literal["half_up", "half_away", "half_even"]
Add = Literal["wrap32", "saturate16", "wide"]
"""The register in which the output's zero point is added: an int32 that wraps, 16 bits that saturate, or one that is
wide enough."""
WideAdd = Literal["wrap32", "wide"]
"""The same of values that may have more than 16 bits."""
Bias = Literal["in_acc", "fused", "reciprocal", "division"]
ClampOrder = Literal["bounds", "type_then_low"]


class Meaningless(ValueError):
    """A combination of values that no calculation has."""


def no_meaning(what: object, reason: str) -> Meaningless:
    """The error that refuses a combination."""
    return Meaningless(f"{what}: {reason}")


@dataclass(frozen=True)
class Float:
    """The accumulator as a float, times the effective scale, rounded to an integer once.

    Attributes:
        bits: of the float.
        tie: tie rule of the rounding.
        bias: `in_acc`: the accumulator has the bias in it, as everywhere else. Else the kernel adds it to the converted
            accumulator, as a real value b that it turns back into accumulator steps: times float32(1/s), `fused` with
            the addition or by the rounded `reciprocal`, or by `division`; s = s_x * s_w.
        limit: what the product is limited to before it is rounded: nothing, the `upper_bound` of the clamp, or both
            ends of the output's `type`; the zero point is subtracted from either.
        out_of_range: what a rounded product becomes that does not fit an int32: INT32_MIN on either side, or the
            nearer end; or the nearer end of 16 bits. `never`: it always fits.
        add: see `Add`.
        clamp_order: both `bounds` at last; or the type saturates, and then only the lower bound is applied.
    """

    bits: Literal[32, 64]
    tie: Tie
    bias: Bias
    limit: Literal["none", "upper_bound", "type"]
    out_of_range: Literal["int32_min", "saturate32", "saturate16", "never"]
    add: Add
    clamp_order: ClampOrder

    def __post_init__(self) -> None:
        if self.bias != "in_acc" and self.bits != 32:
            raise no_meaning(self, "a bias that is a real value is a float32, and so is its sum with the accumulator")
        if self.clamp_order == "type_then_low" and self.limit != "upper_bound":
            raise no_meaning(self, "nothing applies the upper bound of the clamp")
        if (self.limit == "type") != (self.out_of_range == "never"):
            raise no_meaning(self, "a product fits for certain if it is limited to the output's type, and only then")
        if self.limit == "type" and self.add != "wide":
            raise no_meaning(self, "a value limited to the type less the zero point cannot leave the register of a sum")
        if self.add == "saturate16" and self.out_of_range != "saturate16":
            raise no_meaning(self, "a sum in 16 bits needs a value of 16 bits")
        if self.add == "wrap32" and self.out_of_range == "saturate16":
            raise no_meaning(self, "a value of 16 bits cannot make a sum of 32 bits wrap")


@dataclass(frozen=True)
class TwoRoundings:
    """The accumulator shifted left, the high half of its product with a 31-bit multiplier, and a right shift.

    With right = max(-shift, least_right), the left shift is shift + right, at most 31 + least_right.

    Attributes:
        left: what the left shift does where its result leaves an int32.
        high: how the high half is rounded.
        tie: tie rule of the right shift.
        least_right: the smallest right shift.
        add: see `Add`.
    """

    left: Literal["wrap32", "saturate32"]
    high: Literal["half_up", "floor"]
    tie: Tie
    least_right: Literal[0, 1]
    add: WideAdd

    @property
    def shifts(self) -> range:
        """The shifts that kernels of this form are made for; positive = left."""
        return range(-31, 32)


@dataclass(frozen=True)
class OneRounding:
    """The accumulator times the multiplier in 64 bits, and one shift that rounds half up.

    Attributes:
        multiplier_bits: 31, or 15: the multiplier of 31 bits is rounded half up to 15, at most 0x7fff.
        kept_bit: whether the shift leaves one bit more in an int32, which wraps; one is added, and the bit dropped.
        counts: what a shift does whose count is not positive: `plain` shifts have none to 63; `modulo_64` takes the
            count's low six bits, as x86-64 does.
        result: where the result is kept: in 64 bits, or in an int32 that wraps.
        add: see `Add`.
    """

    multiplier_bits: Literal[31, 15]
    kept_bit: bool
    counts: Literal["plain", "modulo_64"]
    result: Literal["wide", "wrap32"]
    add: WideAdd

    def __post_init__(self) -> None:
        if self.kept_bit and self.result != "wrap32":
            raise no_meaning(self, "the bit more is kept in an int32, so the result is")

    @property
    def shifts(self) -> range:
        """The shifts that kernels of this form are made for; positive = left."""
        return range(-31, 129 if self.counts == "modulo_64" else self.multiplier_bits - self.kept_bit + 1)


Requantize = Float | TwoRoundings | OneRounding


def values_of(kind: type[Any]) -> dict[str, tuple[Any, ...]]:
    """The legal values of each field of a type whose fields are literal or bool: field -> values.

    >>> values_of(TwoRoundings)["high"]
    ('half_up', 'floor')
    """
    return {name: get_args(hint) or (False, True) for name, hint in get_type_hints(kind).items()}
