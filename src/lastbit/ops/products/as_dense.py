"""A convolution of any family as the dense layer over its windows."""

from __future__ import annotations

from ..base import PreparedOperator
from .convolution import PreparedConvolution
from .float_convolution import PreparedFloatConvolution
from .float_windows import float_windows
from .hybrid_convolution import PreparedHybridConvolution
from .hybrid_windows import hybrid_windows
from .window_layer import integer_windows

__all__ = ["as_dense"]


def as_dense(prepared: PreparedOperator | None) -> PreparedOperator | None:
    """A convolution as a dense layer over its windows; all else as it is.

    Where the outputs of one channel follow two rules by their place in the image, it is no such layer.
    """
    match prepared:
        case PreparedConvolution():
            return integer_windows(prepared) or prepared
        case PreparedHybridConvolution():
            return hybrid_windows(prepared) or prepared
        case PreparedFloatConvolution():
            return float_windows(prepared) or prepared
        case _:
            return prepared
