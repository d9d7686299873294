"""Of which shape a convolution must be for a mistake in its windows, and how such mistakes are written down."""

from __future__ import annotations

from collections.abc import Callable

from ...arith.windows import WindowAxis
from ...ops.dense.eight_bit import PreparedDense
from ...ops.products.convolution import Convolution
from ...ops.products.window_layer import WindowLayer
from .base import Case, Mistake
from .taps import WindowTaps

__all__ = [
    *("PAD", "PAD_C", "SAME", "SAME_C", "TAP", "Shape"),
    *("axes_of", "convolution_of", "dilated", "of_windows", "pads", "right", "where"),
]

Shape = Callable[[Convolution], bool]


def convolution_of(prepared: PreparedDense) -> Convolution | None:
    """The convolution that a layer is seen from, or None."""
    return prepared.layer.convolution if isinstance(prepared.layer, WindowLayer) else None


def where(shape: Shape) -> Callable[[PreparedDense], bool]:
    """Whether a layer is a convolution of this shape."""

    def applies(prepared: PreparedDense) -> bool:
        layer = convolution_of(prepared)
        return layer is not None and shape(layer)

    return applies


def right(case: Case) -> Convolution:
    """The convolution of a case."""
    layer = case.layer
    assert isinstance(layer, WindowLayer)
    return layer.convolution


def axes_of(layer: Convolution) -> list[tuple[WindowAxis, int]]:
    """Each axis's window, and the image's length."""
    return list(zip((layer.rows, layer.columns), layer.input.shape[1:3], strict=True))


def pads(layer: Convolution) -> bool:
    """Whether any padding is added."""
    return any(sum(axis.padding(length)) for axis, length in axes_of(layer))


def dilated(layer: Convolution) -> bool:
    """Whether a dilation makes a difference."""
    return any(axis.dilation > 1 and axis.size > 1 for axis, _ in axes_of(layer))


PAD = "x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=zx)"
PAD_C = "v = inside ? x[(y * width + x) * channels + c] : zx;  /* so v - zx is 0 in the padding */"
SAME = "total = max((outputs - 1) * stride + (k - 1) * dilation + 1 - length, 0); top = total // 2  # the rest behind"
SAME_C = "pad_top = total / 2;  /* total = max((outputs - 1) * stride + (k - 1) * dilation + 1 - length, 0) */"
TAP = "x[y * stride - top + i * dilation, x * stride - left + j * dilation]"


def of_windows(
    name: str,
    why: str,
    function: Callable[[Case], WindowTaps],
    shape: Shape,
    fixes: tuple[str, str] = (SAME, SAME_C),
    rarity: float = 2.0,
    seen: tuple[str, ...] = (),
) -> Mistake:
    """A mistake in which values of the image a window sees."""
    return Mistake(name, "windows", why, *fixes, function, where(shape), rarity=rarity, seen=seen, needs_images=True)
