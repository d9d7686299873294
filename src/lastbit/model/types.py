"""Small value types that everything else is written in: element types and quantization parameters."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "DTYPES",
    "FLOAT16",
    "FLOAT32",
    "INT4",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "STRING",
    "UINT8",
    "DType",
    "FileBytes",
    "Float32Array",
    "Float64Array",
    "GivenFactor",
    "Int64Array",
    "IntArray",
    "IntegerType",
    "QuantParams",
    "decimal_float",
    "fraction_of",
    "fused_bounds",
    "hex_float",
    "integer_type",
]

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.integer[Any]]
Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
FileBytes = bytes | mmap.mmap


@dataclass(frozen=True)
class DType:
    """An element type of a .tflite tensor.

    Attributes:
        name: the name used in text, JSON and errors, such as `int8`.
        numpy: the NumPy dtype that holds one element (int4 is held unpacked in int8); None for types that
            NumPy does not hold (strings, resources, variants).
        bits: bits of one element in the file; 0 where it is not fixed.
    """

    name: str
    numpy: np.dtype[Any] | None
    bits: int


@dataclass(frozen=True)
class IntegerType(DType):
    """An element type of integers, as quantized values have it.

    Attributes:
        qmin: the smallest integer.
        qmax: the largest.
    """

    qmin: int
    qmax: int


def integer_type(dtype: DType) -> IntegerType:
    """The type as one of integers.

    Raises:
        TypeError: it has no range, so the caller should not have asked.
    """
    if not isinstance(dtype, IntegerType):
        raise TypeError(f"{dtype.name} is not a type of integers")
    return dtype


def _integer(name: str, bits: int) -> IntegerType:
    low, high = (0, 2**bits - 1) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return IntegerType(name, np.dtype(name), bits, low, high)


FLOAT32 = DType("float32", np.dtype(np.float32), 32)
FLOAT16 = DType("float16", np.dtype(np.float16), 16)
STRING = DType("string", None, 0)
INT8, UINT8, INT16 = _integer("int8", 8), _integer("uint8", 8), _integer("int16", 16)
INT32, INT64 = _integer("int32", 32), _integer("int64", 64)
INT4 = IntegerType("int4", np.dtype(np.int8), 4, -8, 7)

# Keyed by TensorType of the TFLite schema.
DTYPES: dict[int, DType] = {
    0: FLOAT32,
    1: FLOAT16,
    2: INT32,
    3: UINT8,
    4: INT64,
    5: STRING,
    6: DType("bool", np.dtype(np.bool_), 8),
    7: INT16,
    8: DType("complex64", np.dtype(np.complex64), 64),
    9: INT8,
    10: DType("float64", np.dtype(np.float64), 64),
    11: DType("complex128", np.dtype(np.complex128), 128),
    12: _integer("uint64", 64),
    13: DType("resource", None, 0),
    14: DType("variant", None, 0),
    15: _integer("uint32", 32),
    16: _integer("uint16", 16),
    17: INT4,
    18: DType("bfloat16", None, 16),
}


@dataclass(frozen=True, eq=False)
class GivenFactor:
    """The factor from accumulator to output steps as kernels are handed it: multiplier * 2**(shift - 31).

    Attributes:
        multiplier: int64 `[1]` or `[out]`, 0 to 2**31 - 1.
        shift: int64, the same shape; positive = left.
    """

    multiplier: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]

    @property
    def factor(self) -> npt.NDArray[Any]:
        """The factor, which float64 holds exactly."""
        return np.ldexp(self.multiplier.astype(np.float64), self.shift - 31)

    @property
    def first(self) -> GivenFactor:
        """That of the first unit alone, `[1]`."""
        return GivenFactor(self.multiplier[:1], self.shift[:1])


@dataclass(frozen=True, eq=False)
class QuantParams:
    """Affine quantization: real = scale * (quantized - zero_point).

    Attributes:
        scale: float32 `[1]` or, per channel, `[channels]`, exactly as stored in the file.
        zero_point: int64, the same shape.
        axis: the tensor axis that the channels run along (0 unless the file says otherwise).
        known: whether these are the real scales. A layer given by multiplier and shift has none: 1 stands for the
            input's and the output's, and the exact factor, float64, for the weights'.
        given: that multiplier and shift, with the weights; None for all other tensors.
    """

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int = 0
    known: bool = True
    given: GivenFactor | None = None

    @property
    def per_channel(self) -> bool:
        """Whether there is more than one scale. One scale is per-tensor in every runtime."""
        return self.scale.size > 1

    @property
    def granularity(self) -> str:
        """`per_channel` or `per_tensor`."""
        return "per_channel" if self.per_channel else "per_tensor"

    @cached_property
    def scale_range(self) -> tuple[float, float]:
        """The smallest and the largest scale; no numbers where one of the scales is none; inf and -inf of no scales."""
        return float(self.scale.min(initial=np.inf)), float(self.scale.max(initial=-np.inf))

    @cached_property
    def shifted(self) -> bool:
        """Whether a zero point is not 0."""
        return bool(self.zero_point.any())


def fraction_of(value: float | np.floating[Any]) -> Fraction:
    """A float's exact value.

    >>> fraction_of(np.float32(0.1))
    Fraction(13421773, 134217728)
    """
    return Fraction(float(value))


def hex_float(value: float | np.floating[Any]) -> str:
    """A float as C99 hexadecimal text, which loses nothing.

    >>> hex_float(np.float32(0.1))
    '0x1.99999a0000000p-4'
    """
    return float(value).hex()


def decimal_float(value: np.floating[Any]) -> str:
    """A finite float with digits enough to be the same number, and with a point or an exponent.

    >>> decimal_float(np.float32(0.1)), decimal_float(np.float64(0.1)), decimal_float(np.float32(3))
    ('0.100000001', '0.10000000000000001', '3.0')
    """
    text = f"{float(value):.{9 if value.dtype == np.float32 else 17}g}"
    return text if any(c in text for c in ".e") else f"{text}.0"


def fused_bounds(activation: str) -> tuple[float, float]:
    """The real-valued bounds of a fused activation: (low, high), infinite where there is none.

    >>> fused_bounds("RELU6")
    (0.0, 6.0)
    """
    return {
        "NONE": (-np.inf, np.inf),
        "RELU": (0.0, np.inf),
        "RELU6": (0.0, 6.0),
        "RELU_N1_TO_1": (-1.0, 1.0),
    }[activation]
