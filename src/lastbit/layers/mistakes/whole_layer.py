"""Mistakes that replace the whole integer arithmetic, from the input to the rounding.

Function: `whole` (case) -> whole output steps without the zero point, int64 `[rows, out]`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...model.types import Int64Array
from .base import Case, Mistake
from .rounding import to_int
from .threads import LEETGPU_38

__all__ = ["WHOLE"]


def _dequantized(case: Case, kind: npt.DTypeLike) -> Int64Array:
    """The layer in real numbers, then quantized. In float32 the order of the sums is this machine's."""
    layer = case.layer
    s_x, s_y = (np.asarray(value, kind) for value in (layer.input_scale, layer.output_scale))
    s_w = layer.weights_scale.astype(kind)
    with np.errstate(all="ignore"):  # of extreme scales: infinities and NaN, as C has them
        w = (case.w - case.zw).astype(kind) * s_w[:, None]
        parts = []
        for rows in case.pieces():
            x = (case.everything(rows).rows(case.x) - case.zx).astype(kind) * s_x
            sums = x @ w.T if x.ndim == 2 else np.einsum("ngk,gok->ngo", x, w.reshape(x.shape[1], -1, x.shape[2]))
            parts.append(sums.reshape(len(x), -1) + case.bias.astype(kind) * (s_x * s_w))
        return to_int(np.rint(np.concatenate(parts) / s_y).astype(np.float64))


_SUM = "acc = (x.astype(np.int32) - zx) @ (w.astype(np.int32) - zw).T + bias; y = zy + round(acc * m)"
_SUM_C = "int32_t acc;  /* integers throughout; the scales come in once, in m */"

WHOLE: tuple[Mistake, ...] = (
    Mistake(
        "calculated_in_real_numbers",
        "whole",
        "input and weights are turned into real numbers (float32), multiplied, and the result is quantized: values "
        "near a tie fall the other way",
        _SUM,
        _SUM_C,
        lambda case: _dequantized(case, np.float32),
        rarity=1.2,
        seen=(LEETGPU_38,),
    ),
    Mistake(
        "calculated_in_real_numbers_float64",
        "whole",
        "input and weights are turned into real numbers (float64), multiplied, and the result is quantized: exact ties "
        "fall the other way",
        _SUM,
        _SUM_C,
        lambda case: _dequantized(case, np.float64),
        rarity=1.5,
    ),
)
