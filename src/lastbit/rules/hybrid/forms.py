"""What a hybrid layer's rule is made of, as data.

Two rules are equal if their fields are; names are printed, and never read. The readers: `rows` and `finish` calculate,
`exact` does so once more in fractions, `words` writes equations and names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, assert_never

from ..base import Pairs
from ..requantize.forms import no_meaning

__all__ = [
    "UNITS_AT_ONCE",
    "Clamp",
    "Conversion",
    "Finish",
    "Flush",
    "HybridConvolution",
    "HybridRule",
    "Loops",
    "Nibbles",
    "Rows",
    "SseSums",
]

UNITS_AT_ONCE = 4
"""Units of a loop that leaves the last ones to other code: see `HybridRule.last_units`."""

Flush = Literal["none", "x86", "arm"]
"""Whether subnormals are read and written as zero: what is subnormal after a rounding to 24 bits, as x86-64 does it, or
what is below 2^-126 before it, as ARM64 does."""
Clamp = Literal["value_first", "bound_first", "bound_first_if_any", "maximum"]
"""Which operand wins where a comparison with NaN fails: the value, or the bound; the bound, but without bounds nothing
is compared; `maximum`: ARM64's, where NaN stays and -0.0 is less than 0.0."""
Loops = Literal["none", "by_size", "by_size_without_dot", "pairs", "one_row"]
"""Which of ARM64's loops multiplies: there are none to choose from; one kernel has them all, with or without dot
products; that of pairs alone; or there is one for `one_row` and one for several."""
SseSums = Literal["none", "all", "weights", "unless_fours"]
"""See `HybridRule.sse_sums`."""


@dataclass(frozen=True)
class Conversion:
    """How a value in steps becomes an int8.

    Attributes:
        tie: the rounding. `nudged`: 0.5 is added away from zero in float32, and the sum is cut; the others to the
            nearest, ties `half_away` or `half_even`.
        limit: whether the value is limited `above` before it is rounded, to 127 less the zero point; NaN becomes that.
        beyond: what an int32 becomes that the value does not fit: `int32_min`, NaN too; `saturate_up` the same except
            large values, which become the largest int32; the nearer end of 32 bits or of 16, and 0 for NaN.
        add: where the zero point is added: nowhere, in float32 `before` the rounding or after it (`float32`), or to the
            integer, in a register that wraps at 32 bits, at 16 bits, or not.
        keep: -127 to 127 (`symmetric`), -128 to 127 (`full`), or the `low_8_bits`.
    """

    tie: Literal["nudged", "half_away", "half_even"]
    limit: Literal["none", "above"]
    beyond: Literal["int32_min", "saturate_up", "saturate32", "saturate16"]
    add: Literal["none", "before", "float32", "wrap32", "wrap16", "wide"]
    keep: Literal["symmetric", "full", "low_8_bits"]


@dataclass(frozen=True)
class Rows:
    """How a row of floats becomes int8.

    Attributes:
        range: what a row's scale is made of. `largest`: its largest magnitude over 127, zero point 0; `largest_or_127`:
            the same, and 127 of a row of zeros. `ends`: both ends over 255 steps, the zero point in float64, half away;
            `ends_in_float64`: the difference of the ends in float64 too. `flushed`: both ends all in float32, the zero
            point half even, subnormals read and written as zero; `flushed_arm`: the same as ARM64 does it.
        inverse: what a value is multiplied with: 127 or 255 over the range (`of_range`), or 1 over the rounded scale.
        nan_takes: which end of the row gives the zero point where an infinity makes NaN of both errors.
        zero_inverse: what the scale is where that factor is 0: infinite, or zero.
        head: the conversion of the first `depth & ~7` values.
        tail: that of the others.
    """

    range: Literal["largest", "largest_or_127", "ends", "ends_in_float64", "flushed", "flushed_arm"]
    inverse: Literal["of_range", "of_scale"]
    nan_takes: Literal["high", "low"]
    zero_inverse: Literal["infinite", "zero"]
    head: Conversion
    tail: Conversion

    def __post_init__(self) -> None:
        if self.zero_inverse == "zero" and self.range != "flushed_arm":
            raise no_meaning(self, "other kernels invert what they have, and one over zero is infinite")
        if self.nan_takes == "low" and self.range != "flushed":
            raise no_meaning(self, "the errors of both ends are not compared, or by one instruction only")
        if self.range in ("ends", "ends_in_float64"):
            if self.inverse == "of_range":
                raise no_meaning(self, "these kernels have the rounded scale alone to make the factor of")
        elif self.inverse == "of_scale" and self.range != "flushed":
            raise no_meaning(self, "the factor is made from the range here")
        for part in (self.head, self.tail):
            if self.symmetric != (part.add == "none"):
                raise no_meaning(self, "a zero point is added where there is one, and only there")

    @property
    def inverts_scale(self) -> bool:
        """Whether the factor is made of the rounded scale."""
        match self.inverse:
            case "of_range":
                return False
            case "of_scale":
                return True
            case never:
                assert_never(never)

    @property
    def symmetric(self) -> bool:
        """Whether the zero point is 0."""
        return self.range in ("largest", "largest_or_127")


@dataclass(frozen=True)
class Nibbles:
    """The 4-bit kernel of int4 weights, for layers of whole blocks: an even depth of 32 or more, and four units.

    Attributes:
        full: how blocks of 32 weights are packed: -8 spills into other nibbles in `vector` code and in `scalar` code.
        last: how a last, shorter block is packed: as scalar code does it, or its `first_16` weights alone.
        rows: how rows are quantized for it.
        fused: whether the bias and the last sum are fused multiply-adds; the last sum of several rows only in the last
            `units % 4` units.
        row_sums: how a row's quantized values are added up for the nibbles' zero point: the `quantized` ones; or before
            they are limited to 8 bits, in `lanes_of_16_bits` that wrap (see `arith.neon.nibble_row_sums`).
    """

    full: Literal["vector", "scalar"]
    last: Literal["scalar", "first_16"]
    rows: Rows
    fused: bool
    row_sums: Literal["quantized", "lanes_of_16_bits"]


@dataclass(frozen=True)
class Finish:
    """From the integer sums to the outputs.

    Attributes:
        order: whether the sum meets the row's scale first, or the weights' scale, or both scales are multiplied first.
        fused: whether the last product and the bias are one fused multiply-add.
        four_rows: what the loop does that takes several rows at once (four, or with `one_row` all), where there is one:
            the `same`, or it is `unfused`.
        int4: sums of int4 weights: `whole`; the `upper_28` bits of sixteen times the sum; `sixteenfold`, with a
            sixteenth of the weights' scale.
        zeros: whether an input of zeros only is multiplied, or `skipped`.
        flush: see `Flush`.
        clamp: see `Clamp`.
        int4_clamp: the same of kernels for int4 weights.
        ends: what an activation without ends limits to: `infinite`, or the largest `finite` float32.
    """

    order: Literal["row_first", "weights_first", "scales_first"]
    fused: bool
    four_rows: Literal["same", "unfused"]
    int4: Literal["whole", "upper_28", "sixteenfold"]
    zeros: Literal["multiplied", "skipped"]
    flush: Flush
    clamp: Clamp
    int4_clamp: Clamp
    ends: Literal["infinite", "finite"] = "infinite"


@dataclass(frozen=True)
class HybridRule:
    """One way of calculating a hybrid layer.

    Attributes:
        name: what users know it by. It is printed and never read.
        symmetric: how rows are quantized where the model says nothing else.
        asymmetric: how they are quantized where it sets asymmetric_quantize_inputs.
        finish: from the sums to the outputs.
        nibbles: the 4-bit kernel, used where its conditions hold; None for none.
        sse_sums: which sums are the SSE code's. In `all` a weight of -128 meets a negative input with the wrong sign,
            and sums of weights have 16 bits; `weights`: the latter alone; `unless_fours`: all, except in layers of
            whole fours of units, which a matrix library takes.
        loops: see `Loops`.
        pairs: which products share a 16-bit sum in the loop of pairs; None where none do.
        weights_scale: what a kernel takes for s_w where there is more than one, but in the 4-bit kernel: its `own`;
            `zero`; or `one` where rows are symmetric.
        last_units: how the last `units % 4` end where a loop takes four units at once and they go through other code;
            None where all end alike.
    """

    name: str = field(compare=False)
    symmetric: Rows
    asymmetric: Rows
    finish: Finish
    nibbles: Nibbles | None = None
    sse_sums: SseSums = "none"
    loops: Loops = "none"
    pairs: Pairs | None = None
    weights_scale: Literal["own", "zero", "one"] = "own"
    last_units: Finish | None = None

    def __post_init__(self) -> None:
        if self.pairs is not None and self.loops == "none":
            raise no_meaning(self, "there is no loop that adds pairs")

    def finish_of(self, unit: int, units: int) -> Finish:
        """How one of so many units ends."""
        if self.last_units is None or unit < units - units % UNITS_AT_ONCE:
            return self.finish
        return self.last_units

    @property
    def always_asymmetric(self) -> bool:
        """Whether the kernel asks nobody how rows are to be quantized."""
        return self.symmetric == self.asymmetric


@dataclass(frozen=True)
class HybridConvolution:
    """One way of calculating a hybrid convolution: a hybrid layer over its windows, whose rows are whole images.

    Padding holds the row's zero point.

    Attributes:
        name: what users know it by. It is printed and never read.
        several: the rule where the channels have different scales, or groups.
        one: the rule where all channels have the same scale and there are no groups.
        pixels: the rule of windows of one tap with stride 1 and without groups where these are a dense layer, whose
            rows are pixels; None where they are like all others.
        one_output: the rule of other windows where an image has a single one; None where it is like all others.
        pairs_across_taps: whether products of two taps can share a 16-bit sum; else each tap's channels begin anew.
    """

    name: str = field(compare=False)
    several: HybridRule
    one: HybridRule
    pixels: HybridRule | None = None
    one_output: HybridRule | None = None
    pairs_across_taps: bool = False
