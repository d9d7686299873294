"""Rules of operators around dense layers: a list of stages and their output, or a choice of two rules.

Where a kernel treats some elements, channels or scales otherwise, the rule is a `Choice`, with its condition as fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..base import Bounds, ChannelGroups, ElementGroups
from ..requantize.forms import no_meaning
from .forms import Register, Stage

__all__ = [
    "Choice",
    "Condition",
    "HeightAndWidth",
    "InnerGroups",
    "NotNegative",
    "Output",
    "PowersOfTwo",
    "RealOutput",
    "Staged",
    "StagedRule",
]


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

    def __post_init__(self) -> None:
        if self.add in ("nothing", "rounded_offset") and self.keep != "wide":
            raise no_meaning(self, "a register before the zero point is that of a kernel that adds it afterwards")
        if self.domain == "input" and (self.of, self.add) != ("input", "nothing"):
            raise no_meaning(self, "bounds in the input's quantization clamp the input as it is")


@dataclass(frozen=True)
class RealOutput:
    """The last stage of an operator that gives float32.

    Attributes:
        of: the value that is read; `input` is the operator's input as it is.
        way: `difference`: the input without its zero point, times its scale; `product_plus_offset`: the input times its
            scale, plus the zero point's own product; `fused_plus_offset`: the same, with the first product not rounded;
            `widened`: the same number, which float32 has. All in float32.
    """

    of: str
    way: Literal["difference", "product_plus_offset", "fused_plus_offset", "widened"]


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
    """A reduction of four dimensions over the second and the third, which stay as dimensions of one element.

    Attributes:
        from_end: whether axes may be counted from the end, as -3 and -2.
    """

    from_end: bool = True


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
