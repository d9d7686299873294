"""Mistakes in hybrid layers: float32 in and out, int8 or int4 weights, every row or image quantized at run time.

Function of each slot: see `hybrid_case.HYBRID_SLOTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...model.types import Float64Array
from .base import Mistake
from .catalogue import MISTAKES
from .hybrid_case import HybridCase
from .hybrid_windows import hybrid_window_mistakes
from .threads import TF_38781, TFLM_757

__all__ = [
    "FLOAT",
    "FLOAT_WINDOWS",
    "HYBRID",
    "HYBRID_WINDOWS",
    "OTHER_ORDERS",
]

OTHER_ORDERS = ("output_column_major", "output_channels_first")
"""Mistakes of dense layers and of convolutions in which the output's values are right, in another order in memory."""


def _largest(x: Float64Array) -> Float64Array:
    largest = np.abs(x).max(axis=1).astype(np.float32)
    return np.where(largest > 0, largest, np.float32(1)).astype(np.float64)


def _quantized(layer: HybridCase, scale: Float64Array, steps: Float64Array, low: int = -127) -> HybridCase:
    return replace(layer, q=np.clip(steps, low, 127), s_x=scale)


def _scale_of(layer: HybridCase, steps: int) -> Float64Array:
    scale: Float64Array = (_largest(layer.x).astype(np.float32) / np.float32(steps)).astype(np.float64)
    return scale


def _truncated(layer: HybridCase) -> HybridCase:
    scale = _scale_of(layer, 127)
    return _quantized(layer, scale, np.trunc(layer.x.astype(np.float32) / scale[:, None].astype(np.float32)))


def _whole_batch(layer: HybridCase) -> HybridCase:
    scale = np.full(len(layer.x), _scale_of(layer, 127).max())
    return _quantized(layer, scale, np.rint(layer.x.astype(np.float32) / scale[:, None].astype(np.float32)))


def _over_128(layer: HybridCase) -> HybridCase:
    scale = _scale_of(layer, 128)
    return _quantized(layer, scale, np.rint(layer.x.astype(np.float32) / scale[:, None].astype(np.float32)), -128)


def _both_ends(layer: HybridCase) -> HybridCase:
    low, high = np.minimum(layer.x.min(axis=1), 0), np.maximum(layer.x.max(axis=1), 0)
    scale = np.where(high > low, (high - low) / 255, 1.0)
    zero = np.rint(-128 - low / scale)
    steps = np.clip(np.rint(layer.x / scale[:, None]) + zero[:, None], -128, 127) - zero[:, None]
    return replace(layer, q=steps, s_x=scale)


def _largest_value(layer: HybridCase) -> HybridCase:
    largest = layer.x.max(axis=1).astype(np.float32)
    scale = (np.where(largest > 0, largest, np.float32(1)) / np.float32(127)).astype(np.float64)
    return _quantized(layer, scale, np.rint(layer.x.astype(np.float32) / scale[:, None].astype(np.float32)))


def _zero_points(layer: HybridCase, times: int, *, padding: bool) -> HybridCase:
    """The zero points this many times in the input, or in the padding as well; they stand for the real 0."""
    assert layer.zero_point is not None
    made = replace(layer, q=layer.q + times * layer.zero_point[:, None])
    if layer.windows is None or not padding or len(layer.s_x) != layer.windows.images:
        return made
    return replace(made, windows=replace(layer.windows, fill=times * layer.zero_point))


def _bias_on_sum(layer: HybridCase) -> HybridCase:
    return replace(layer, bias=layer.bias * layer.row_scale[:, None] * layer.s_w)


def _one_scale(layer: HybridCase, scale: float) -> HybridCase:
    return replace(layer, s_w=np.array([scale]))


def _symmetric(layer: HybridCase) -> HybridCase:
    scale = _scale_of(layer, 127)
    return _quantized(layer, scale, np.rint(layer.x.astype(np.float32) / scale[:, None].astype(np.float32)))


def _nibbles(layer: HybridCase, kind: str) -> HybridCase:
    stored = layer.w.astype(np.int64) & 15
    match kind:
        case "unsigned":
            w = stored
        case "excess":
            w = stored - 8
        case _:
            w = np.where(stored & 8, -(stored & 7), stored)
    return replace(layer, w=w.astype(np.float64))


def _swapped(layer: HybridCase) -> HybridCase:
    flat = layer.w.ravel().copy()
    even = flat.size // 2 * 2
    flat[:even] = flat[:even].reshape(-1, 2)[:, ::-1].ravel()
    return replace(layer, w=flat.reshape(layer.w.shape))


def _as_in_out(layer: HybridCase) -> HybridCase:
    return replace(layer, w=layer.w.reshape(layer.w.shape[::-1]).T)


def _products(layer: HybridCase, kept: slice) -> HybridCase:
    mask = np.zeros(layer.w.shape[1])
    mask[kept] = 1
    return replace(layer, w=layer.w * mask)


def _units_reversed(layer: HybridCase) -> HybridCase:
    assert layer.y is not None
    assert layer.bound is not None
    return replace(layer, y=layer.y[:, ::-1], bound=layer.bound[:, ::-1])


_ROWS = "s = max(abs(row)) / 127; q = np.clip(np.rint(row / s), -127, 127)  # for each row; some kernels: both ends"
_ROWS_C = "s = max_abs / 127.0f; q = (int8_t)lroundf(row[k] / s);  /* for each row */"
_SUM = "y = (q.astype(np.int32) @ w.astype(np.int32).T) * (s[:, None] * s_w) + bias"
_SUM_C = "y = (float)acc * (s * s_w[unit]) + bias[unit];"

_Function = Callable[[HybridCase], HybridCase]


def _rows(name: str, why: str, function: _Function, rarity: float, seen: tuple[str, ...] = ()) -> Mistake:
    """A mistake in quantizing the rows, which integer layers do not have."""
    return Mistake(name, "hybrid input", why, _ROWS, _ROWS_C, function, rarity=rarity, seen=seen)


def _shared(name: str, slot: str, function: _Function, fixes: tuple[str, str] | None = (_SUM, _SUM_C)) -> Mistake:
    """A mistake that integer layers have too, in their words; the right lines are theirs where none are given."""
    known = MISTAKES[name]
    numpy, c = fixes or (known.fix_numpy, known.fix_c)
    return Mistake(name, slot, known.why, numpy, c, function, rarity=known.rarity, seen=known.seen)


_MADE = (
    _rows(
        "hybrid_input_not_quantized",
        "the weights become real numbers and the input stays real; runtimes quantize each row of the input to int8",
        lambda v: replace(v, q=v.x, s_x=np.ones(len(v.x))),
        1.0,
        (TFLM_757,),
    ),
    _rows(
        "hybrid_scale_of_whole_batch", "one input scale is made of all rows; each row has its own", _whole_batch, 1.5
    ),
    _rows(
        "hybrid_input_truncated",
        "the quantized input is truncated towards zero (a cast to int8); it must be rounded",
        _truncated,
        1.5,
        (TF_38781,),
    ),
    _rows("hybrid_scale_over_128", "a row's largest magnitude is divided by 128; it is divided by 127", _over_128, 1.6),
    _rows(
        "hybrid_input_with_zero_point",
        "rows are quantized between their two ends with a zero point; this runtime does it in another way",
        _both_ends,
        2.0,
    ),
    _rows(
        "hybrid_input_symmetric",
        "rows are quantized by their largest magnitude without a zero point; this runtime takes both ends",
        _symmetric,
        2.0,
    ),
    _rows(
        "hybrid_scale_of_largest_value",
        "a row's scale is made of its largest value; it is made of its largest magnitude",
        _largest_value,
        2.0,
    ),
    _shared("input_zero_point_missing", "hybrid input", lambda v: _zero_points(v, 1, padding=True)),
    _shared("input_zero_point_added", "hybrid input", lambda v: _zero_points(v, 2, padding=True)),
    _shared("weights_as_in_out", "weights", _as_in_out, None),
    _shared("weights_as_uint8", "weights", lambda v: replace(v, w=np.where(v.w < 0, v.w + 256, v.w)), None),
    _shared("weights_reversed", "weights", lambda v: replace(v, w=v.w[:, ::-1]), None),
    _shared("weights_nibbles_swapped", "weights", _swapped, None),
    _shared("weights_int4_unsigned", "weights", lambda v: _nibbles(v, "unsigned"), None),
    _shared("weights_int4_excess_8", "weights", lambda v: _nibbles(v, "excess"), None),
    _shared("weights_int4_sign_magnitude", "weights", lambda v: _nibbles(v, "sign"), None),
    Mistake(
        "weights_int4_offset_by_8",
        "weights",
        "8 is added to int4 weights; they are two's complement, and 0 stands for 0",
        MISTAKES["weights_int4_excess_8"].fix_numpy,
        MISTAKES["weights_int4_excess_8"].fix_c,
        lambda v: replace(v, w=v.w + 8),
        rarity=2.5,
    ),
    _shared("last_product_left_out", "product", lambda v: _products(v, slice(0, -1)), None),
    _shared("first_product_left_out", "product", lambda v: _products(v, slice(1, None)), None),
    _shared("remainder_of_4_left_out", "product", lambda v: _products(v, slice(0, v.w.shape[1] // 4 * 4)), None),
    _shared("remainder_of_8_left_out", "product", lambda v: _products(v, slice(0, v.w.shape[1] // 8 * 8)), None),
    _shared("product_wraps_int8", "sum", lambda v: replace(v, sum_bits=8)),
    _shared("product_wraps_int16", "sum", lambda v: replace(v, sum_bits=16)),
    _shared("weights_scale_missing", "members", lambda v: replace(v, s_w=np.ones(1))),
    _shared("input_scale_missing", "members", lambda v: replace(v, s_x=np.ones(len(v.x)))),
    _shared("scales_first_for_all", "members", lambda v: replace(v, s_w=v.s_w[:1])),
    _shared("scales_next_unit", "members", lambda v: replace(v, s_w=np.roll(v.s_w, -1))),
    _shared("scales_last_for_all", "members", lambda v: _one_scale(v, v.s_w[-1])),
    _shared("scales_largest_for_all", "members", lambda v: _one_scale(v, v.s_w.max())),
    _shared("scales_mean_for_all", "members", lambda v: _one_scale(v, v.s_w.mean())),
    _shared("bias_missing", "bias", lambda v: replace(v, bias=np.zeros_like(v.bias))),
    _shared("bias_twice", "bias", lambda v: replace(v, bias=2 * v.bias)),
    _shared("bias_subtracted", "bias", lambda v: replace(v, bias=-v.bias)),
    _shared("bias_first_for_all", "bias", lambda v: replace(v, bias=np.full_like(v.bias, v.bias[0]))),
    replace(
        _shared("bias_real_on_integer_sum", "bias", _bias_on_sum),
        why="the bias is added to the integer sum and scaled with it; it is added after the scaling",
    ),
    _shared(
        "activation_missing",
        "activation",
        lambda v: replace(v, low=-np.inf, high=np.inf),
        ("y = np.clip(y, low, high)", "y = y < low ? low : y > high ? high : y;"),
    ),
    _shared(
        "relu_that_is_not_there",
        "activation",
        lambda v: replace(v, low=max(v.low, 0.0)),
        ("no activation: the layer has NONE", "/* no activation */"),
    ),
    _shared("units_reversed", "layout", _units_reversed, None),
    *(_shared(name, "layout", lambda v: v, None) for name in OTHER_ORDERS),
)

HYBRID: dict[str, Mistake] = {mistake.name: mistake for mistake in _MADE}
"""Name -> mistake, in order of calculation. Names that integer layers have too mean the same there."""


def _other_taps(mistake: Mistake) -> _Function:
    def function(case: HybridCase) -> HybridCase:
        assert case.windows is not None
        return replace(case, windows=replace(case.windows, taps=mistake.function(case.windows)))

    return function


def _other_kernel(mistake: Mistake) -> _Function:
    return lambda case: replace(case, w=mistake.function(case.windows, case.w))


def _other_image(mistake: Mistake) -> _Function:
    """The image's values elsewhere. An image's scale stays, since its values do; pixels are quantized anew."""

    def function(case: HybridCase) -> HybridCase:
        assert case.windows is not None
        images, channels = case.windows.images, case.windows.layer.convolution.input.shape[3]

        def moved(values: Float64Array) -> Float64Array:
            image = values.reshape(images, -1, channels)
            return np.asarray(mistake.function(None, image), np.float64).reshape(values.shape)

        x = moved(case.x)
        if len(case.s_x) == images:
            return replace(case, x=x, q=moved(case.q))
        assert case.quantize is not None
        q, s_x, zero_point = case.quantize(x)
        return replace(case, x=x, q=q, s_x=s_x, zero_point=zero_point)

    return function


def _padded_with_zero(case: HybridCase) -> HybridCase:
    assert case.windows is not None
    assert case.zero_point is not None
    return replace(case, windows=replace(case.windows, fill=-case.zero_point))


def _pads(case: HybridCase) -> bool:
    """Whether padding matters, and images have zero points."""
    by_image = case.windows is not None and len(case.s_x) == case.windows.images
    return by_image and case.windows is not None and case.zero_point is not None and case.windows.taps.pads


_WINDOWS = (
    *hybrid_window_mistakes("input", _other_image),
    replace(
        MISTAKES["padding_zero"],
        why="the quantized image is padded with 0; it is padded with the zero point, which stands for the real 0",
        function=_padded_with_zero,
        applies=_pads,
    ),
    *(m for m in hybrid_window_mistakes("windows", _other_taps) if m.name != "padding_zero"),
    *hybrid_window_mistakes("weights", _other_kernel),
)

_LAYOUT_OF_DENSE = ("weights_as_in_out", "weights_reversed")
"""Which convolutions have by other names."""

HYBRID_WINDOWS: dict[str, Mistake] = {
    **{mistake.name: mistake for mistake in _WINDOWS},
    **{name: mistake for name, mistake in HYBRID.items() if name not in _LAYOUT_OF_DENSE},
}
"""Those of convolutions."""

_REAL_SUM = ("y = x @ w.T + bias", "y = bias[unit]; for (int k = 0; k < depth; ++k) y += x[k] * w[unit * depth + k];")

FLOAT: dict[str, Mistake] = {
    mistake.name: replace(mistake, fix_numpy=_REAL_SUM[0], fix_c=_REAL_SUM[1]) if mistake.slot == "bias" else mistake
    for mistake in _MADE
    if mistake.slot in ("product", "bias", "activation", "layout")
    or mistake.name in ("weights_as_in_out", "weights_reversed")
}
"""Those of them that can be made in a layer that is float32 throughout."""

FLOAT_WINDOWS: dict[str, Mistake] = {
    **{mistake.name: mistake for mistake in _WINDOWS if mistake.name != "padding_zero"},
    **{name: mistake for name, mistake in FLOAT.items() if name not in _LAYOUT_OF_DENSE},
}
"""Those of convolutions that are float32 throughout."""
