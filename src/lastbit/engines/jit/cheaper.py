"""Forms that do the same as a layer's own requantization in fewer instructions (see `thresholds`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model.types import Array, IntArray
from ...rules.requantize.fold import RequantParams
from .cpu import has_fma
from .fused import Fused, fit_fused
from .linear import Linear, fit_linear
from .thresholds import StepPoints, thresholds

__all__ = ["cheaper_forms", "layer_thresholds"]


def layer_thresholds(
    params: RequantParams, whole: IntArray, base: npt.NDArray[np.int64], given: np.dtype[Any]
) -> list[StepPoints] | None:
    """A layer's thresholds that sums can reach; None where its own form stays (see `thresholds`)."""
    ends, (low, high) = np.iinfo(given), (base, base)
    for which in (whole > 0, whole < 0):
        sums = whole.sum(axis=1, dtype=np.int64, where=which)
        reach = sums * ends.min, sums * ends.max
        low, high = low + np.minimum(*reach), high + np.maximum(*reach)
    return thresholds(params, low, high)


def cheaper_forms() -> Sequence[Callable[[Sequence[StepPoints]], tuple[Fused | Linear, dict[str, Array]] | None]]:
    """What finds a cheaper form's constants, the cheapest first."""
    return (fit_fused, fit_linear) if has_fma() else (fit_linear,)
