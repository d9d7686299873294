"""Rules of float32 convolutions, as data: in which order and how many sums products are added, how often rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .floats import NamedFloat, Zeros, table_of

__all__ = ["CONVOLUTIONS", "FloatConvolution", "PartialSums"]


@dataclass(frozen=True)
class PartialSums:
    """How many partial sums XNNPACK's kernels for ARM64 keep, to which products are added by turns.

    The first one begins with the bias. At the end they are added up: neighbours, then the sums of neighbours.

    Attributes:
        taps: of a depthwise window of ten taps or more, a turn for each tap.
        filters: of a depthwise window with several filters for a channel, where these are fewer than eight or an image
            has one output pixel.
        few_units: of a window, a turn for each channel, where a group has fewer than eight units.
        one_pixel: of a window, where an image has one output pixel.
        over_pixels: of a dense layer over pixels, where eights of units leave much empty; the products beyond whole
            turns are added after the partial sums.
        one_row: of a dense layer over one pixel.
        from_zero: whether the bias is added to 0.0 first, so that no -0.0 stays; not of depthwise windows.
    """

    taps: int = 1
    filters: int = 1
    few_units: int = 1
    one_pixel: int = 1
    over_pixels: int = 1
    one_row: int = 1
    from_zero: bool = False


@dataclass(frozen=True)
class FloatConvolution(NamedFloat):
    """A convolution, row by row of the window, from left to right, channel by channel.

    Attributes:
        bias: whether the sum begins with it, or it is added at last.
        fused: whether a product and its addition are rounded once.
        flush: whether subnormals become zero, and bounds are infinite where there is none.
        columns_first_taps: up to so many taps of the window it goes column by column, where every output channel sees
            one input channel that no other sees. 0: never.
        unfused_group: of so many channels of a tap, products in whole groups are rounded, those beyond are fused. 0:
            there are no groups.
        zeros: see `FloatArithmetic`.
        arm: whether what is below 2^-126 before it is rounded becomes zero, as on ARM64.
        partial: the partial sums.
    """

    bias: Literal["first", "last"]
    fused: bool
    flush: bool = False
    columns_first_taps: int = 0
    unfused_group: int = 0
    zeros: Zeros = "kept"
    arm: bool = False
    partial: PartialSums = PartialSums()


_ORDER = "row by row of the window, from left to right, channel by channel"
# XNNPACK has depthwise kernels for windows of up to so many taps.
_DEPTHWISE_TAPS = 25

_TEN_TAPS = "2 of depthwise windows of 10 taps or more"
_FEW = f"{_TEN_TAPS}, of windows with fewer than 8 units or one pixel; 4 over pixels where eights of units leave gaps"
# What XNNPACK's Neon kernels keep, with and without a kernel of its own for one row; and beside kernels for SME.
_NEON = (
    (
        "float32_fma_neon/bias_first",
        f"{_FEW}, 2 over one pixel",
        PartialSums(taps=2, filters=2, few_units=2, one_pixel=2, over_pixels=4, one_row=2),
    ),
    (
        "float32_fma_neon_one_row/bias_first",
        _FEW,
        PartialSums(taps=2, filters=2, few_units=2, one_pixel=2, over_pixels=4),
    ),
    (
        "float32_fma_neon_depthwise/bias_first",
        f"{_TEN_TAPS}; others start from 0.0 + bias",
        PartialSums(taps=2, filters=2, from_zero=True),
    ),
)

CONVOLUTIONS = table_of(
    FloatConvolution(
        "float32_in_order/bias_last",
        f"y = clamp((0 + x w + x w + ...) + bias), {_ORDER}; every product and sum rounded",
        "last",
        fused=False,
    ),
    FloatConvolution(
        "float32_in_order/bias_first",
        f"y = clamp(bias + x w + x w + ...), {_ORDER}; every product and sum rounded",
        "first",
        fused=False,
    ),
    FloatConvolution(
        "float32_fma/bias_first",
        f"y = clamp(fma(x, w, ... fma(x, w, bias))), {_ORDER}, or column by column where every output channel sees one "
        f"input channel that no other sees and the window has {_DEPTHWISE_TAPS} taps or fewer: it is filled up to 3, "
        f"4, 9 or {_DEPTHWISE_TAPS} taps with zero weights for inputs behind it; subnormals become zero",
        "first",
        fused=True,
        flush=True,
        columns_first_taps=_DEPTHWISE_TAPS,
    ),
    FloatConvolution(
        "float32_fma_in_order/bias_last",
        f"y = clamp(fma(x, w, ... fma(x, w, 0)) + bias), {_ORDER}",
        "last",
        fused=True,
    ),
    FloatConvolution(
        "float32_fma_in_order/bias_first",
        f"y = clamp(fma(x, w, ... fma(x, w, bias))), {_ORDER}; -0.0 is below a bound of 0.0",
        "first",
        fused=True,
        zeros="ordered",
    ),
    FloatConvolution(
        "float32_fma_beyond_eights/bias_last",
        f"y = clamp(sum + bias), {_ORDER}; products of whole groups of 8 channels are rounded and added, the rest are "
        "fused",
        "last",
        fused=True,
        unfused_group=8,
    ),
    *(
        FloatConvolution(
            name,
            f"as float32_fma/bias_first, in partial sums: {words}; what is below 2^-126 before it is rounded becomes "
            "zero; -0.0 is below a bound of 0.0",
            "first",
            fused=True,
            flush=True,
            columns_first_taps=_DEPTHWISE_TAPS,
            zeros="ordered",
            arm=True,
            partial=partial,
        )
        for name, words, partial in _NEON
    ),
)
