"""Rivals of a hybrid convolution that see other windows: padding, where windows begin, how the kernel is laid out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...layers.mistakes.hybrid import HYBRID_WINDOWS
from ...layers.mistakes.hybrid_windows import image_windows
from ...layers.mistakes.taps import WindowTaps
from ...layers.mistakes.windows import WINDOWS
from ...model.types import Array
from ...ops.products.convolution import Convolution
from ...ops.products.convolution_rows import windows_as_rows
from ...ops.products.hybrid_convolution import PreparedHybridConvolution, Windows
from ...ops.products.hybrid_windows import PreparedHybridWindows, hybrid_windows

__all__ = ["window_rivals"]


def window_rivals(right: PreparedHybridWindows) -> Iterator[tuple[str, str, PreparedHybridWindows]]:
    """For each mistake that can be made in this convolution's windows: its name, why it is one, and what it makes."""
    case, prepared = image_windows(right.layer, 1), right.prepared
    for mistake in WINDOWS:
        if not mistake.applies(case):
            continue
        match mistake.slot:
            case "weights":
                changed = prepared.with_weights(mistake.function(case, prepared.weights))
            case "windows":
                taps: WindowTaps = mistake.function(case)
                if not taps.in_order:
                    continue
                changed = replace(prepared, windows=_seen(taps))
            case _:
                continue
        yield _made(mistake.name, mistake.why, changed)
    if case.taps.pads and not prepared.by_pixel and not prepared.arithmetic.symmetric.symmetric:
        why = HYBRID_WINDOWS["padding_zero"].why
        yield _made("padding_zero", why, replace(prepared, windows=_padded_with_zero()))


def _made(name: str, why: str, changed: PreparedHybridConvolution) -> tuple[str, str, PreparedHybridWindows]:
    windows = hybrid_windows(changed)
    assert windows is not None
    return name, why, windows


def _seen(taps: WindowTaps) -> Windows:
    """What takes windows as wrong code does."""

    def windows(layer: Convolution, images: Array, zero_point: npt.NDArray[np.int64]) -> Array:
        channels = images.shape[3]
        rows = np.arange(len(images) * taps.pixels)
        seen = taps.of(images.reshape(len(images), -1, channels), rows)
        parts = seen.reshape(len(rows), -1, layer.groups, channels // layer.groups)
        return parts.transpose(0, 2, 1, 3).reshape(len(rows), -1)

    return windows


def _padded_with_zero() -> Windows:
    """The same where the quantized image is padded with 0, from which the zero point is subtracted then."""

    def windows(layer: Convolution, images: Array, zero_point: npt.NDArray[np.int64]) -> Array:
        rows = windows_as_rows(layer, images, 0)
        outside = windows_as_rows(layer, np.zeros(images.shape, np.int8), 1).astype(bool)
        return np.where(outside, -np.repeat(zero_point, len(rows) // len(images))[:, None], rows)

    return windows
