"""Inputs of a self-test that need no room, since the code makes them in the same way; and checksums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...model.graph import Model, Tensor
from ...model.types import Array, IntegerType
from ...ops.base import PreparedOperator
from .program import Slot, elements

__all__ = ["MODES", "Vector", "checksum", "float_exponent", "mix"]

Mode = Literal["any", "ends", "blocks", "quiet"]
MODES: tuple[Mode, ...] = ("any", "ends", "blocks", "quiet")
"""Every value alike; the smallest and the largest; the same value for eight neighbours; values near the middle."""

_UINT32 = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Vector:
    """One input of every tensor that a program is given.

    Attributes:
        seed: of its numbers.
        mode: what they are like.
    """

    seed: int
    mode: Mode

    def values(self, slots: Sequence[Slot], exponents: Sequence[int]) -> list[Array]:
        """The inputs, in their tensors' shapes; those of float32 lie between powers of two of these exponents."""
        return [
            self._of(slot.tensor, k, exponent) for k, (slot, exponent) in enumerate(zip(slots, exponents, strict=True))
        ]

    def _of(self, tensor: Tensor, number: int, exponent: int) -> Array:
        seed = self.seed + 1000 * number
        place = np.arange(elements(tensor), dtype=np.uint32)
        bits = mix((place // 8 if self.mode == "blocks" else place) + np.uint32((seed * 7919) & 0xFFFFFFFF))
        if isinstance(tensor.dtype, IntegerType):
            values: Array = self._integers(bits, tensor.dtype)
        else:
            whole = (bits >> 8).astype(np.int64) - (1 << 23)
            whole = np.where(whole < 0, -(1 << 23), (1 << 23) - 1) if self.mode == "ends" else whole
            whole = whole >> 4 if self.mode == "quiet" else whole
            values = whole.astype(np.float32) * np.float32(2.0 ** (exponent - 23))
        return values.astype(tensor.dtype.numpy).reshape(tensor.shape)

    def _integers(self, bits: _UINT32, dtype: IntegerType) -> npt.NDArray[np.int64]:
        whole = (bits >> (32 - dtype.bits)).astype(np.int64) + dtype.qmin
        match self.mode:
            case "ends":
                return np.where(whole < (dtype.qmin + dtype.qmax + 1) // 2, dtype.qmin, dtype.qmax)
            case "quiet":
                return ((bits >> 28).astype(np.int64) - 8) + (dtype.qmin + dtype.qmax + 1) // 2
            case _:
                return whole


def float_exponent(entries: Sequence[PreparedOperator], model: Model, tensor: Tensor) -> int:
    """Inputs of float32 lie between -2^exponent and 2^exponent, a little beyond what quantizes without saturation."""
    for entry in entries:
        if tensor.index not in entry.inputs or not entry.operator.outputs:
            continue
        output = model.tensors[entry.operator.outputs[0]]
        if output.quant is not None and isinstance(output.dtype, IntegerType):
            zero = int(output.quant.zero_point[0])
            steps = max(output.dtype.qmax - zero, zero - output.dtype.qmin)
            return int(np.frexp(float(output.quant.scale[0]) * steps)[1])
    return 3


def mix(number: _UINT32) -> _UINT32:
    """A number that looks random, for each number: 32 bits, which wrap."""
    with np.errstate(over="ignore"):
        x: Array = number * np.uint32(2654435761)
        x = (x ^ (x >> 15)) * np.uint32(2246822519)
        x = (x ^ (x >> 13)) * np.uint32(3266489917)
    return np.asarray(x ^ (x >> 16), np.uint32)


def checksum(values: Array) -> int:
    """32 bits that change when any one element changes: each is multiplied by an odd number of its place."""
    flat = np.asarray(values).reshape(-1)
    if flat.dtype == np.float32:
        return 0
    weights = mix(np.arange(flat.size, dtype=np.uint32)) | np.uint32(1)
    with np.errstate(over="ignore"):
        return int((flat.astype(np.int64).astype(np.uint32) * weights).sum(dtype=np.uint32))
