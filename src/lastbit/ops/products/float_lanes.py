"""The partial sums in which XNNPACK's kernels for ARM64 add the products of a float32 convolution."""

from __future__ import annotations

from dataclasses import dataclass

from ...arith.floats import flush_subnormals
from ...model.types import Array
from ...rules.operators.float_convolutions import FloatConvolution
from .convolution_layer import Convolution

__all__ = ["Lanes", "lanes_of"]

# Units that one run of a kernel makes, and of the one for what these leave empty.
_UNITS, _FEW_UNITS = 8, 2
# Depthwise kernels of up to so many taps keep one sum.
_TAPS_OF_ONE_SUM = 9


@dataclass(frozen=True)
class Lanes:
    """Partial sums that products are added to by turns.

    Attributes:
        count: how many: 1, 2 or 4.
        by_tap: whether a turn is a tap of the window; else a channel.
        early: whether they are added up before the channels beyond whole turns, of which there is one tap.
        from_zero: whether the bias is added to 0.0 first.
    """

    count: int = 1
    by_tap: bool = False
    early: bool = False
    from_zero: bool = False

    def lane(self, tap: int, channel: int, count: int) -> int:
        """Which of `count` sums takes a product."""
        return (tap if self.by_tap else channel) % count

    def joined(self, sums: list[Array], channel: int, depth: int) -> list[Array]:
        """The sums before a channel: one where it is beyond whole turns."""
        return [self.total(sums)] if self.early and channel >= depth - depth % self.count else sums

    def total(self, sums: list[Array]) -> Array:
        """All sums added up, neighbours first; subnormals become zero.

        >>> import numpy as np
        >>> Lanes(2).total([np.float32([1]), np.float32([2])]).tolist()
        [3.0]
        """
        while len(sums) > 1:
            sums = [flush_subnormals(a + b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
        return sums[0]


def lanes_of(layer: Convolution, rule: FloatConvolution, shape: tuple[int, ...]) -> Lanes:
    """The partial sums of a convolution.

    Args:
        layer: the convolution.
        rule: its rule.
        shape: the output's, with the images that are fed.

    Source: google/XNNPACK, src/operators/convolution-nhwc.c and src/configs/gemm-config.c, for which kernel is taken;
    the sums were found by probing.
    """
    partial, units = rule.partial, layer.channels // layer.groups
    pixels = shape[1] * shape[2]
    if layer.depthwise(rule.columns_first_taps):
        count = partial.taps if layer.taps > _TAPS_OF_ONE_SUM else 1
        return Lanes(count, by_tap=True)
    if layer.operator.name == "DEPTHWISE_CONV_2D":
        # A group has one channel, which is always the first sum's: the other one shows in the sign of a zero alone.
        return Lanes(partial.filters if units < _UNITS or pixels == 1 else 1)
    gaps = units < _UNITS or _whole(units, _FEW_UNITS) < _whole(units, _UNITS)
    if layer.over_pixels and gaps:
        return Lanes(partial.over_pixels, early=True, from_zero=partial.from_zero and shape[0] * pixels > 1)
    if layer.over_pixels and shape[0] * pixels == 1:
        return Lanes(partial.one_row)
    if layer.over_pixels:
        count = 1
    elif units < _UNITS:
        count = partial.few_units
    else:
        count = partial.one_pixel if pixels == 1 else 1
    return Lanes(count, from_zero=partial.from_zero)


def _whole(units: int, each: int) -> int:
    """Units in whole runs of a kernel."""
    return -(-units // each) * each
