"""The types of rules: an integer layer's rule is how it sums, how it scales, how it requantizes, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from .requantize.forms import Float, OneRounding, Requantize, TwoRoundings, no_meaning

__all__ = [
    "NEIGHBOURS",
    "WHOLE",
    "Bounds",
    "ChannelGroups",
    "Either",
    "ElementGroups",
    "IntegerRule",
    "OneRow",
    "Pairs",
    "ScaleProduct",
    "Scales",
    "Sums",
    "ThreeByThree",
    "Unsupported",
    "Whole",
    "Window",
    "requantization_alone",
    "text_of_fields",
]

ScaleProduct = Literal["dd", "fd", "ff", "given"]
"""How s_x * s_w / s_y is calculated: `dd` all in float64; `fd` the product in float32, the quotient in float64; `ff`
all in float32. `given`: there are no scales, the kernel is handed a multiplier and a shift."""

Bounds = Literal["half_away", "half_even", "half_even_then_zero_point"]
"""Tie rule of the activation bounds: `half_away` rounds bound/s_y and adds the zero point; `half_even` adds the zero
point in float32 first, `half_even_then_zero_point` afterwards."""


class Unsupported(Exception):
    """A reader does not have a value of a field.

    Attributes:
        reader: which one.
        field: the field's name.
        value: its value.
    """

    def __init__(self, reader: str, field: str, value: object) -> None:
        super().__init__(f"the reader {reader} does not have {field} = {value}")
        self.reader, self.field, self.value = reader, field, value


@dataclass(frozen=True)
class Whole:
    """Products are added as they are."""


@dataclass(frozen=True)
class Pairs:
    """Two products are added in 16 bits, and that sum to the others.

    Products lie in groups of twice `partner`; each one of a group's first half is added to that of the second half at
    the same place. A product that has no partner is added alone: it always fits.

    Attributes:
        partner: how many places further a product's partner stands, 1 or more: 1, the next of every two; 8, the one
            eight further, of every sixteen.
        overflow: what becomes of a sum that does not fit.
        last_group: a group that the depth does not fill: its products are `paired` as far as they have partners, as if
            zeros filled it, or are all `alone`.
    """

    partner: int
    overflow: Literal["saturate16", "wrap16"]
    last_group: Literal["paired", "alone"] = "paired"

    def __post_init__(self) -> None:
        if self.partner < 1:
            raise no_meaning(self, "a product's partner stands behind it")


WHOLE = Whole()

NEIGHBOURS = Pairs(1, "saturate16")
"""What the x86-64 instruction VPMADDUBSW does."""


@dataclass(frozen=True)
class Sums:
    """How an accumulator is summed up.

    Attributes:
        bits: of the accumulator; it wraps.
        products: whether products are added whole, or in pairs that have 16 bits.
        weights_zero_point: whether the kernel reads it.
    """

    bits: Literal[28, 32, 64]
    products: Whole | Pairs = WHOLE
    weights_zero_point: Literal["read", "ignored"] = "read"


@dataclass(frozen=True)
class Scales:
    """How the effective scale is made.

    Attributes:
        product: see `ScaleProduct`.
        weights_scale: what a kernel takes for s_w where there are several: each unit's `own`; for all units the `first`
            one; `zero`, or `one`. All but `own` are faults of real kernels.
    """

    product: ScaleProduct
    weights_scale: Literal["own", "first", "zero", "one"] = "own"


@dataclass(frozen=True)
class IntegerRule:
    """One way of getting from quantized inputs to quantized outputs. Two rules are equal if their fields are.

    Attributes:
        name: what users know it by. It is printed and never read.
        sums: from the inputs to the accumulator.
        scales: from the scales to the effective scale.
        requantize: from the accumulator to the output.
        bounds: tie rule of the activation bounds.
    """

    name: str = field(compare=False)
    sums: Sums
    scales: Scales
    requantize: Requantize
    bounds: Bounds

    def __post_init__(self) -> None:
        form, bits = self.requantize, self.sums.bits
        if self.scales.product == "given":
            if isinstance(form, Float):
                raise no_meaning(self, "a factor that is a float is not given as a multiplier and a shift")
            if self.scales.weights_scale in ("zero", "one"):
                raise no_meaning(self, f"a weights scale of {self.scales.weights_scale} has no place in a given factor")
        if isinstance(form, TwoRoundings) and bits == 64:
            raise no_meaning(self, "the left shift has an int32, which does not hold an accumulator of 64 bits")
        if not isinstance(form, TwoRoundings | OneRounding) and form.bias != "in_acc":
            if bits == 64:
                raise no_meaning(self, "what is left of an accumulator without its bias is kept in an int32")
            if self.scales.weights_scale != "own":
                raise no_meaning(self, "a bias that is a real value is divided by each unit's own scale")


@dataclass(frozen=True)
class OneRow:
    """An input of one row, in a layer that has this many units and this depth at least."""

    least_units: int
    least_depth: int


@dataclass(frozen=True)
class ChannelGroups:
    """The output channels of a convolution that fill whole groups; the last ones, which do not, follow the other rule.

    Attributes:
        channels: of one group.
    """

    channels: int


@dataclass(frozen=True)
class ElementGroups:
    """The elements of a sample, in flat order, that fill whole groups; the last ones follow the other rule.

    Attributes:
        elements: of one group.
    """

    elements: int


@dataclass(frozen=True)
class Window:
    """A convolution in which every output channel sees one input channel that no other sees, with so small a window.

    Attributes:
        most_taps: of the window.
        or_pixels: whether those belong to it too that are a dense layer over pixels: one tap, stride 1, no groups.
    """

    most_taps: int
    or_pixels: bool = False


@dataclass(frozen=True)
class ThreeByThree:
    """A depthwise convolution with 3 * 3 taps, strides of 1 or 2, padding of 0 or 1 and one output for each channel.

    Its channels fill whole groups, and its effective scale is below 1.

    Attributes:
        channels: of one group.
    """

    channels: int


@dataclass(frozen=True)
class Either:
    """A choice of two rules.

    Attributes:
        name: what users know the choice by. It is printed and never read.
        when: which layers, inputs or channels follow the first.
        then: what they follow.
        otherwise: what all others follow.
    """

    name: str = field(compare=False)
    when: OneRow | ChannelGroups | ElementGroups | Window | ThreeByThree
    then: IntegerRule
    otherwise: IntegerRule


def requantization_alone(rule: IntegerRule) -> IntegerRule:
    """What the rule makes of accumulators, whatever they were summed up from: equal for rules that requantize alike."""
    bits: Literal[28, 32, 64] = 64 if rule.sums.bits == 64 else 32
    return IntegerRule(rule.name, Sums(bits), Scales(rule.scales.product), rule.requantize, rule.bounds)


def text_of_fields(value: Any) -> str:
    """The values of a rule's fields and of their parts, one behind the other; its name is left out.

    >>> text_of_fields(Sums(64, Pairs(1, "wrap16")))
    '64-1-wrap16-paired-read'
    """
    if not is_dataclass(value):
        return str(value)
    parts = [text_of_fields(getattr(value, field.name)) for field in fields(value) if field.compare]
    return "-".join(part for part in parts if part)
