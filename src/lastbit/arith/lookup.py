"""Look-up tables and float steps of the activation kernels, bit by bit. Arrays in and out; knows no model.

NumPy's own float32 exp and tanh differ between CPUs, and from the C library that the runtimes call, so none
of them is used. `expf` repeats the C library's algorithm; `math.exp` and `math.tanh` in double precision
stand for the rest, and where a result would hang on their last bits, `unsafe` says so instead of guessing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..model.types import Array, Float32Array, Int64Array, IntArray
from .fixedpoint import low_bits, round_half_away

__all__ = [
    "SIGMOID_TABLE",
    "LookupTable",
    "expf",
    "float_to_int_x86",
    "interpolate",
    "interpolation_table",
    "lut_half_away",
    "lut_half_even",
    "sigmoid_between",
    "sigmoid_expf",
    "sum_in_order",
    "tanh_between",
]

# A function value as (lowest, highest) possible result; both equal where it is known exactly.
Between = Callable[[Float32Array], tuple[Float32Array, Float32Array]]

_STEPS = 32  # expf divides an octave into 2**5 steps
_OCTAVE = np.asarray([2.0 ** (i / _STEPS) for i in range(_STEPS)], np.float64)
_INV_LN2_STEPS = np.float64(float.fromhex("0x1.71547652b82fep+0") * _STEPS)
_EXPF_C0 = np.float64(float.fromhex("0x1.c6af84b912394p-5") / _STEPS**3)
_EXPF_C1 = np.float64(float.fromhex("0x1.ebfce50fac4f3p-3") / _STEPS**2)
_EXPF_C2 = np.float64(float.fromhex("0x1.62e42ff0c52d6p-1") / _STEPS)
_EXPF_OVERFLOW = np.float32(float.fromhex("0x1.62e42ep6"))
_EXPF_UNDERFLOW = np.float32(float.fromhex("-0x1.9fe368p6"))
# The two arguments at which fused and unfused steps round differently, with the fused result.
_EXPF_FUSED = (
    (np.float32(float.fromhex("-0x1.f8cbb2p+5")), np.float32(float.fromhex("0x1.f45326p-92"))),
    (np.float32(float.fromhex("0x1.04845ep+5")), np.float32(float.fromhex("0x1.f93e38p+46"))),
)


def expf(x: npt.ArrayLike) -> Float32Array:
    """float32 exp with the very bits of glibc's `expf` (2.28 and later; musl and bionic have the same code).

    It is not correctly rounded: 1 result in 3600 differs from exp in double precision rounded once. The steps
    are plain float64 products and sums, which NumPy neither reorders nor fuses. The C library picks fused
    multiply-adds on CPUs that have them; among all 611 million float32 values in [-103.9, 88.7] above 1e-9 in
    magnitude that changes two results, and those two are taken from the fused form, which every supported CPU
    has.

    >>> float(expf(np.float32(1.0))).hex(), float(expf(-200)), float(expf(89))
    ('0x1.5bf0a80000000p+1', 0.0, inf)

    Source: glibc, sysdeps/ieee754/flt-32/e_expf.c (from ARM's optimized-routines, math/expf.c).
    """
    value = np.asarray(x, np.float32)
    inside = np.clip(value, _EXPF_UNDERFLOW, _EXPF_OVERFLOW).astype(np.float64)
    z = _INV_LN2_STEPS * inside
    whole = np.rint(z)
    r = z - whole
    index = whole.astype(np.int64)
    scale = np.ldexp(_OCTAVE[index % _STEPS], (index // _STEPS).astype(np.int32))
    y = (_EXPF_C0 * r + _EXPF_C1) * (r * r) + (_EXPF_C2 * r + 1.0)
    with np.errstate(under="ignore"):
        result = (y * scale).astype(np.float32)
    for argument, fused in _EXPF_FUSED:
        result = np.where(value == argument, fused, result)
    overflow = np.where(value > _EXPF_OVERFLOW, np.float32(np.inf), result)
    return np.where(value < _EXPF_UNDERFLOW, np.float32(0), overflow).astype(np.float32)


def sigmoid_expf(x: Float32Array) -> tuple[Float32Array, Float32Array]:
    """`1 / (1 + exp(-x))` with every step in float32, exact: (value, value)."""
    one = np.float32(1)
    value = one / (one + expf(-x))
    return value, value


def sigmoid_between(x: Float32Array) -> tuple[Float32Array, Float32Array]:
    """`e / (1 + e)`, e = exp(x) in float64, rounded to float32; 0 or 1 beyond 100.

    exp in double precision is within one unit in the last place in every C library but not the same in all of
    them, so the result for one unit less and one unit more are both given. They seldom differ after rounding.

    Source: google/XNNPACK, src/reference/unary-elementwise.cc (SigmoidOp), commit 08563ef0.
    """
    ends = []
    for direction in (0.0, math.inf):
        e = np.asarray([math.nextafter(math.exp(v), direction) for v in np.clip(x, -101, 101).tolist()])
        ends.append(np.where(x > 100, 1.0, np.where(x < -100, 0.0, e / (1 + e))).astype(np.float32))
    return ends[0], ends[1]


def tanh_between(x: Float32Array) -> tuple[Float32Array, Float32Array]:
    """float32 tanh as the two neighbours that no C library's `tanhf` leaves.

    glibc before 2.41 is wrong by up to two units in the last place (found for 1 argument in 700), later ones
    round correctly: the runtime's own result depends on the machine's C library. The value two units away on
    either side is given; tanh(0) = 0 and the saturated end, 1, are exact in all of them.
    """
    exact = np.asarray([math.tanh(v) for v in x.tolist()], np.float64).astype(np.float32)
    low, high = exact, exact
    for _ in range(2):
        low = np.nextafter(low, np.float32(-np.inf))
        high = np.nextafter(high, np.float32(np.inf))
    # From |x| = 9.02 on the nearest float32 is 1; at 9.5 what is missing is a third of a rounding step.
    one = np.float32(1)
    settled = (x == 0) | (np.abs(x) >= 9.5)
    low, high = np.where(settled, exact, low), np.where(settled, exact, high)
    return np.clip(low, -one, one), np.clip(high, -one, one)


@dataclass(frozen=True, eq=False)
class LookupTable:
    """A 256-entry table.

    Attributes:
        values: int64 `[256]`, for the inputs from the smallest to the largest of the element type.
        first: the input that `values[0]` is for.
        unsafe: the inputs whose value depends on the last bits of a C library's function; empty = exact.
    """

    values: Int64Array
    first: int
    unsafe: tuple[int, ...]

    def __call__(self, x: IntArray) -> Int64Array:
        """Look inputs up."""
        return self.values[np.asarray(x, np.int64) - self.first]


def float_to_int_x86(value: npt.ArrayLike) -> Int64Array:
    """Convert to int32 as x86 does: what does not fit, and NaN, becomes INT32_MIN. Fractions are dropped.

    >>> float_to_int_x86([1.9, -1.9, 3e9, float("nan")]).tolist()
    [1, -1, -2147483648, -2147483648]
    """
    v = np.asarray(value, np.float64)
    fits = (v > -(2.0**31) - 1) & (v < 2.0**31)
    return np.where(fits, np.trunc(np.where(fits, v, 0.0)), -(2.0**31)).astype(np.int64)


def _table(inputs: Int64Array, low: Int64Array, high: Int64Array) -> LookupTable:
    return LookupTable(low, int(inputs[0]), tuple(inputs[low != high].tolist()))


def lut_half_away(
    function: Between,
    input_scale: np.float32,
    input_zero_point: int,
    output_scale: np.float32,
    output_zero_point: int,
    qmin: int,
    qmax: int,
) -> LookupTable:
    """Tabulate a function: times the inverse output scale, rounded half away, then plus the zero point.

    Args:
        function: from real float32 inputs to the lowest and highest possible float32 result.
        input_scale: s_x.
        input_zero_point: zx.
        output_scale: s_y.
        output_zero_point: zy.
        qmin: smallest integer of the (one) element type.
        qmax: largest integer.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/internal/common.h (LUTPopulateInt8).
    """
    inputs = np.arange(qmin, qmax + 1, dtype=np.int64)
    real = input_scale * (inputs - input_zero_point).astype(np.float32)
    with np.errstate(over="ignore"):
        inverse = np.float32(1) / output_scale
        ends = [round_half_away(end * inverse).astype(np.float32) for end in function(real)]
        sums = [end + np.float32(output_zero_point) for end in ends]
    low, high = (np.clip(float_to_int_x86(end), qmin, qmax) for end in sums)
    return _table(inputs, low, high)


def lut_half_even(
    function: Between,
    input_scale: np.float32,
    input_zero_point: int,
    output_scale: np.float32,
    output_zero_point: int,
    qmin: int,
    qmax: int,
) -> LookupTable:
    """Tabulate a function: times the inverse output scale plus the zero point, clamped, rounded half even.

    The zero point is added before rounding, so it moves the parity of a tie. Arguments as in `lut_half_away`.

    Source: google/XNNPACK, src/reference/unary-elementwise.cc and src/xnnpack/reference-utils.h (quantize).
    """
    inputs = np.arange(qmin, qmax + 1, dtype=np.int64)
    real = (inputs - input_zero_point).astype(np.float32) * input_scale
    with np.errstate(over="ignore"):
        inverse = np.float32(1) / output_scale
        sums = [end * inverse + np.float32(output_zero_point) for end in function(real)]
    low, high = (np.rint(np.clip(end, np.float32(qmin), np.float32(qmax))).astype(np.int64) for end in sums)
    return _table(inputs, low, high)


def sum_in_order(terms: Float32Array) -> Float32Array:
    """Sum along the last axis from left to right, each partial sum rounded to float32; the axis is kept.

    NumPy's own sum adds pairwise, which gives other last bits; accumulate must keep every partial sum.
    """
    return np.add.accumulate(terms, axis=-1, dtype=np.float32)[..., -1:]


def interpolation_table(
    function: Callable[[float], float], input_min: float, input_max: float, precision: type[np.floating]
) -> Int64Array:
    """513 int16 samples of a function over [input_min, input_max], for outputs in [-1, 1].

    Every sample is moved by half the error that linear interpolation makes in the middle of its step.

    Args:
        function: the function, in double precision.
        input_min: real value of -32768.
        input_max: real value of 32767.
        precision: np.float32 or np.float64, the type of every step.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/internal/common.h (LUTPopulateInt16, gen_lut).
    """

    def apply(value: Array) -> Array:
        return np.asarray([function(v) for v in value.astype(np.float64).tolist()]).astype(precision)

    f = precision
    low, high = f(input_min), f(input_max)
    step = (high - low) / f(512)
    half_step = step / f(2)
    output_scaling = f(65536) / (f(1) - f(-1))
    index = np.arange(512).astype(f)
    start = low + index * step
    value, middle = apply(start), apply(start + half_step)
    following = apply(low + (index + f(1)) * step)
    sample = _round(value * output_scaling, f)
    interpolated = _round((following * output_scaling + sample) / f(2), f)
    error = interpolated - _round(middle * output_scaling, f)
    bias = _round(error / f(2), f)
    last = _round(apply(np.asarray([high])) * output_scaling, f)
    entries = np.concatenate([sample - bias, last])
    clipped: Int64Array = np.clip(entries, -32768, 32767).astype(np.int64)
    return clipped


def _round(value: Array, precision: type[np.floating]) -> Array:
    return round_half_away(value).astype(precision)


def interpolate(x: IntArray, table: Int64Array) -> Int64Array:
    """Look int16 values up in 513 entries: the high 9 bits choose, the low 7 interpolate, rounded half up.

    Source: tensorflow/tensorflow, tensorflow/lite/kernels/internal/common.h (LUTLookup for int16).
    """
    value = np.asarray(x, np.int64)
    index = 256 + (value >> 7)
    base = table[index]
    # The kernel keeps the slope in an int16.
    slope = (table[index + 1] - base + 32768) % 65536 - 32768
    result: Int64Array = low_bits(base + ((slope * (value & 0x7F) + 64) >> 7), 16)
    return result


def _sigmoid_table() -> Int64Array:
    """65536 * sigmoid(i / 24) for i = 0..255, as the int16 logistic and tanh kernels hold it.

    The kernels' table is not the rounded function: these entries are one larger than that. The list was read
    off the running interpreter (int16 TANH gives every entry back), and tests/ops/elements/test_activations.py holds it
    against recorded outputs.
    """
    larger = "4 8 12 14 15 16 17 19 20 21 22 25 27 28 29 30 31 33 34 35 37 39 40 41 43 44 45 46 49 50"
    larger += " 54 62 63 64 66 82 86 93 100 103 112 116 135 255"
    table = np.asarray([math.floor(65536 / (1 + math.exp(-i / 24)) + 0.5) for i in range(256)], np.int64)
    table[[int(i) for i in larger.split()]] += 1
    return table


SIGMOID_TABLE: Int64Array = _sigmoid_table()
