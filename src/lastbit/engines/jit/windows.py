"""Where the windows of a convolution lie in a padded copy of an image, so that none of them is gathered.

A window is a few runs of neighbouring values. Every window has the same runs, counted from its first value:

    value of a window = copy[start of the window + start of the run + place in the run]

Compiled code reads the copy in groups of four bytes at `start + tap`. Runs are filled up to whole groups; what lies
behind a run there is multiplied with weights of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...arith.windows import WindowAxis
from ...model.types import Array, Int64Array
from ..plan import Around
from .memory import address

if TYPE_CHECKING:
    from .vectors import Isa

__all__ = ["CONVERTED", "SLACK", "Windows", "moved"]

CONVERTED = ("int16", "uint8", "int8")
"""The types that products take, by the numbers that compiled code has for them."""

SLACK = 128
"""Bytes that may be read behind a copy."""


def moved(isa: Isa, given: np.dtype[Any]) -> int:
    """What the kernels' inputs are more than the layer's."""
    return {("uint8", "int8"): 128, ("int8", "uint8"): -128}.get((isa.activations, given.name), 0)


_NONE = ((0, 0), (0, 0))


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows over images of one size. All places are counted in values.

    Attributes:
        height: rows of an image.
        width: its columns.
        channels: values of one pixel.
        times: how often the copy has each value; more than 1 for depthwise convolutions with a multiplier.
        top: rows of padding above.
        left: columns of padding at the left.
        rows: rows of the copy.
        columns: its columns.
        planes: columns of one remainder modulo this lie behind each other in each row of the copy: with the stride of
            the windows, neighbouring windows see neighbours.
        outputs: windows along the height, and along the width.
        starts: where each window begins.
        runs: where each run of a window begins, counted from there.
        run: values of a run.
        fill: what padding is made of, in the type of the image.
    """

    height: int
    width: int
    channels: int
    times: int
    top: int
    left: int
    rows: int
    columns: int
    planes: int
    outputs: tuple[int, int]
    starts: Int64Array
    runs: Int64Array
    run: int
    fill: int = 0

    @classmethod
    def of(
        cls,
        image: tuple[int, ...],
        rows: WindowAxis,
        columns: WindowAxis,
        around: Around = _NONE,
        fill: int = 0,
        seen: int = 0,
    ) -> Windows:
        """Windows of all channels, or of the first so many.

        Args:
            image: `[h, w, c]` without what is around it.
            rows: the window along the height.
            columns: along the width.
            around: rows and columns of padding that an operator before has put around the image.
            fill: what padding is made of.
            seen: how many channels a window has; 0 for all.

        >>> three = WindowAxis(3, 1, 1, True)
        >>> w = Windows.of((4, 5, 2), three, three)
        >>> (w.rows, w.columns), w.run, w.runs.tolist(), w.starts[:6].tolist()
        ((6, 7), 6, [0, 14, 28], [0, 2, 4, 6, 8, 14])
        """
        height, width, channels = image
        sizes, before, outputs = _padded((height, width), (rows, columns), around)
        pixel, line = channels, sizes[1] * channels
        starts = np.add.outer(
            np.arange(outputs[0]) * rows.stride * line, np.arange(outputs[1]) * columns.stride * pixel
        )
        lines = np.arange(rows.size) * rows.dilation * line
        # Neighbouring columns lie behind each other: they are one run.
        near = columns.dilation == 1 and seen in (0, channels)
        places = np.zeros(1, np.int64) if near else np.arange(columns.size) * columns.dilation * pixel
        runs = np.add.outer(lines, places).reshape(-1)
        run = columns.size * pixel if near else seen or pixel
        return cls(height, width, channels, 1, *before, *sizes, 1, outputs, starts.reshape(-1), runs, run, fill)

    @classmethod
    def by_channel(
        cls,
        image: tuple[int, ...],
        times: int,
        rows: WindowAxis,
        columns: WindowAxis,
        around: Around = _NONE,
        fill: int = 0,
    ) -> Windows:
        """Windows of each channel by itself: runs are single values, and neighbouring windows see neighbours.

        >>> two = WindowAxis(2, 2, 1, False)
        >>> w = Windows.by_channel((4, 4, 3), 1, two, two)
        >>> w.runs.tolist(), w.starts.tolist()
        ([0, 6, 12, 18], [0, 3, 24, 27])
        """
        height, width, channels = image
        sizes, before, outputs = _padded((height, width), (rows, columns), around)
        planes, pixel = columns.stride, channels * times
        sizes = sizes[0], -(-sizes[1] // planes) * planes
        plane, line = sizes[1] // planes * pixel, sizes[1] * pixel
        across = np.arange(columns.size) * columns.dilation
        places = across % planes * plane + across // planes * pixel
        runs = np.add.outer(np.arange(rows.size) * rows.dilation * line, places).reshape(-1)
        starts = np.add.outer(np.arange(outputs[0]) * rows.stride * line, np.arange(outputs[1]) * pixel)
        return cls(height, width, channels, times, *before, *sizes, planes, outputs, starts.reshape(-1), runs, 1, fill)

    @property
    def pixels(self) -> int:
        """Windows of one image."""
        return self.outputs[0] * self.outputs[1]

    @property
    def values(self) -> int:
        """Values of one copy."""
        return self.rows * self.columns * self.channels * self.times

    def copied(self, isa: Isa, given: np.dtype[Any]) -> dict[str, int]:
        """The fields of an operator that say how its images are copied (see `fields.Fields`).

        Args:
            isa: the kernels.
            given: the type of the images.
        """
        from . import image_kernels
        from .compile import function_address
        from .rows import convert_address

        size = np.dtype(isa.activations).itemsize
        return {
            "convert": convert_address(isa, given.name),
            "converted_to": CONVERTED.index(isa.activations),
            "input_bytes": given.itemsize,
            "image_rows": self.height,
            "image_columns": self.width,
            "channels": self.channels,
            "times": self.times,
            "top": self.top,
            "left": self.left,
            "copy_rows": self.rows,
            "copy_bytes": self.columns * self.channels * self.times * size,
            "planes": self.planes,
            "padding": self.fill + moved(isa, given),
            "copy": function_address(image_kernels.copy),
            "fill": function_address(image_kernels.fill),
            "repeat": function_address(image_kernels.repeat) if self.times > 1 else 0,
            "pixels": self.pixels,
        }

    def placed(self, isa: Isa, steps: int, given: np.dtype[Any]) -> tuple[dict[str, int], tuple[Array, ...]]:
        """The fields of a layer whose rows are windows, and the arrays that they point to."""
        from . import kernels
        from .compile import function_address
        from .tile import MOST_ROWS, UNROLL

        size = 4 // isa.group
        starts = np.zeros(self.pixels + MOST_ROWS, np.int64)  # tiles of more rows than there are read on
        starts[: self.pixels] = self.starts * size
        taps = np.zeros(steps * UNROLL, np.int64)
        places = self.taps(isa.group) * size
        taps[: len(places)] = places
        fields = self.copied(isa, given) | {
            "function": function_address(kernels.convolve),
            "starts": address(starts),
            "taps": address(taps),
            "runs": len(self.runs),
            "run_groups": len(places) // len(self.runs),
            "run_values": self.run,
        }
        return fields, (starts, taps)

    def spread(self, weights: Array, group: int) -> Array:
        """Weights `[out, depth]` with every run filled up to whole groups of so many values."""
        parts = weights.reshape(len(weights), len(self.runs), self.run)
        filled = np.zeros((*parts.shape[:2], -(-self.run // group) * group), weights.dtype)
        filled[..., : self.run] = parts
        return filled.reshape(len(weights), -1)

    def taps(self, group: int) -> Int64Array:
        """Where each group of a window begins."""
        return np.add.outer(self.runs, np.arange(0, self.run, group)).reshape(-1)


def _padded(
    image: tuple[int, int], axes: tuple[WindowAxis, WindowAxis], around: Around
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Rows and columns of the copy, of the padding in front, and of the windows."""
    sizes, before, outputs = [], [], []
    for length, axis, (front, behind) in zip(image, axes, around, strict=True):
        whole = length + front + behind
        padding = axis.padding(whole)
        sizes.append(whole + sum(padding))
        before.append(front + padding[0])
        outputs.append(axis.outputs(whole))
    return (sizes[0], sizes[1]), (before[0], before[1]), (outputs[0], outputs[1])
