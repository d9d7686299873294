"""A hybrid convolution seen as the dense layer over its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...model.types import Array
from ..dense.hybrid import Finisher, PreparedHybrid, finish_by_rule
from .hybrid_convolution import PreparedHybridConvolution
from .window_layer import WindowLayer, seen_as, window_layer

__all__ = ["PreparedHybridWindows", "hybrid_windows"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedHybridWindows(PreparedHybrid):
    """A hybrid convolution as a dense layer over its windows. `evaluate` takes images; its steps have a row a window.

    Attributes:
        prepared: the convolution.
        layer: its windows.
    """

    prepared: PreparedHybridConvolution
    layer: WindowLayer

    @property
    def alone(self) -> PreparedHybrid:
        """Images are calculated one by one in any case."""
        return self

    @property
    def pairs(self) -> npt.NDArray[np.bool_]:
        """Where two weights of -128 share a 16-bit sum."""
        return self.prepared.pairs

    @property
    def quantized_together(self) -> str:
        """What has one scale."""
        return "pixel" if self.prepared.by_pixel else "image"


def hybrid_windows(
    prepared: PreparedHybridConvolution, finish: Finisher = finish_by_rule
) -> PreparedHybridWindows | None:
    """The dense layer over a hybrid convolution's windows; None for operators that are not seen so.

    Args:
        prepared: the convolution.
        finish: what reads its rule's `Finish`.
    """
    layer = window_layer(prepared.convolution)
    if layer is None:
        return None
    constants = prepared.constants

    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        x = np.asarray(values[0], np.float32)
        prepared.convolution.check(x)
        windows = prepared.per_window(prepared.quantized(x), x, scaled=True)
        dot = prepared.sums(windows)
        found: dict[str, Array] = {
            "range_low": windows.low,
            "range_high": windows.high,
            "input_scale": windows.scale,
            "input_zero_point": windows.zero_point.astype(np.int32),
            "input_inverse": windows.inverse,
            "scaled_input": windows.scaled,
            "quantized_input": windows.quantized.astype(np.int8),
            "dot": dot.astype(np.int32),
            **finish(made, windows, dot, True),
        }
        found["output"] = found["output"].reshape(layer.output_shape(x.shape))
        return found

    made = seen_as(
        PreparedHybridWindows,
        prepared,
        evaluate=evaluate,
        layer=layer,
        arithmetic=prepared.arithmetic,
        quantize=prepared.quantize,
        finish=finish,
        asymmetric=False,
        nibbles=False,
        weights_used=prepared.weights,
        weights_sum=constants.weights_sum,
        weights_scale=constants.weights_scale,
        bias=constants.bias,
        prepared=prepared,
    )
    return made
