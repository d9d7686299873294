"""Reading tensors: element type, shape, quantization, and the values of constants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ModelError
from ..faults import Fault, FaultKind
from ..graph import Tensor
from ..types import DTYPES, Array, DType, FileBytes, IntegerType, QuantParams

__all__ = ["Buffers", "Findings", "read_tensor", "unpack_int4"]

# NumPy 1 holds 32 dimensions. What a file may have beyond is limited, so that a shape costs little to read.
_MAX_RANK = 32
# TFLite's kernels count elements in int32.
_MAX_ELEMENTS = 2**31 - 1


@dataclass(frozen=True)
class _Extent:
    """Where a constant's bytes are in the file. A length of 0 means that there are none.

    Attributes:
        start: the first byte.
        length: how many.
        outside: whether they are behind the FlatBuffer.
    """

    start: int = 0
    length: int = 0
    outside: bool = False


class Buffers:
    """The file's buffers, as arrays that share the file's memory where they can."""

    def __init__(self, content: FileBytes, root: Any) -> None:
        self.content = content
        self.root = root
        self.count: int = root.BuffersLength()
        # Copies are kept by what they were made of, and limited: many buffers may view the same long bytes.
        self.copies: dict[tuple[int, str], Array] = {}
        self.copy_budget = (1 << 20) + 4 * len(content)

    def extent(self, index: int, found: Findings) -> _Extent:
        """Where a buffer's bytes are."""
        if index >= self.count:
            found.add(FaultKind.BUFFER_MISSING, f"its buffer is {index}, but the file has {self.count} buffers")
            return _Extent()
        buffer = self.root.Buffers(index)
        length: int = buffer.DataLength()
        if index == 0:
            if length or buffer.Offset() > 1:
                text = f"its buffer is 0, which says that it has no constant data, but buffer 0 has {length} bytes"
                found.add(FaultKind.BUFFER_ZERO, text)
            return _Extent()
        if length:
            table = buffer._tab
            return _Extent(table.Vector(table.Offset(4)), length)
        # Models beyond 2 GB have their constants behind the FlatBuffer; 0 and 1 both say "not here"
        # (TFLite writes 1 as a placeholder).
        start, length = buffer.Offset(), buffer.Size()
        if start <= 1 or not length:
            return _Extent()
        if start + length > len(self.content):
            found.add(
                FaultKind.BEYOND_FILE,
                f"its buffer {index} is at bytes {start} to {start + length} of the file, which has "
                f"{len(self.content)} bytes; the file may be truncated",
            )
            return _Extent()
        found.add(FaultKind.OUTSIDE_FLATBUFFER, f"its buffer {index} is behind the FlatBuffer, at byte {start}")
        return _Extent(start, length, True)

    def array(self, index: int, extent: _Extent, shape: tuple[int, ...], dtype: DType, where: str) -> Array:
        """The constant at `extent`, read-only; its length has been checked."""
        assert dtype.numpy is not None
        little = dtype.numpy.newbyteorder("<")
        if dtype.bits != 4:
            view = np.frombuffer(self.content, little, math.prod(shape), extent.start).reshape(shape)
            if view.flags.aligned and little == dtype.numpy:
                return view
        key = (index, dtype.name)
        if key not in self.copies:
            if dtype.bits == 4:
                self.spend(2 * extent.length, where)
                packed = np.frombuffer(self.content, np.uint8, extent.length, extent.start)
                # All of it: the same bytes may be of an odd and of an even number of values.
                copy = unpack_int4(packed, 2 * extent.length)
            else:
                self.spend(extent.length, where)
                whole = extent.length // little.itemsize
                copy = np.frombuffer(self.content, little, whole, extent.start).astype(dtype.numpy)
            copy.flags.writeable = False
            self.copies[key] = copy
        return self.copies[key][: math.prod(shape)].reshape(shape)

    def spend(self, count: int, where: str) -> None:
        """Refuse a file whose constants take far more memory than the file has bytes."""
        self.copy_budget -= count
        if self.copy_budget < 0:
            raise ModelError(
                f"{where}: the constants take more than four times the file's {len(self.content)} bytes, "
                "because its buffers overlap each other; the file is damaged, convert the model again."
            )


def unpack_int4(packed: Array, count: int) -> Array:
    """Two int4 values per byte, the low nibble first, to int8.

    Args:
        packed: uint8, at least half of `count` bytes.
        count: how many values there are.

    Returns:
        int8 `[count]`, -8 to 7.

    >>> unpack_int4(np.array([0x8F, 0x07], np.uint8), 3)
    array([-1, -8,  7], dtype=int8)
    """
    values = np.empty(2 * packed.size, np.int8)
    # Up by four bits and arithmetically down again: the sign is extended.
    values[0::2] = (packed << 4).astype(np.uint8).view(np.int8) >> 4
    values[1::2] = packed.view(np.int8) >> 4
    return values[:count]


class Findings:
    """The faults found so far, and what is being read."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.where = ""
        self.tensor: int | None = None

    def reading(self, where: str, tensor: int | None) -> None:
        """Say which tensor the next faults are about; None for one of another subgraph than the main one."""
        self.where, self.tensor = where, tensor

    def add_file(self, kind: FaultKind, text: str) -> None:
        """A fault of the whole file."""
        self.faults.append(Fault(kind, text))

    def add(self, kind: FaultKind, text: str) -> None:
        """A fault of the tensor that is being read."""
        self.faults.append(Fault(kind, f"{self.where}: {text}", self.tensor))


def read_tensor(
    entry: Any, index: int, constants: Buffers, computed: bool, where: str, found: Findings
) -> tuple[Tensor, bool]:
    """One tensor of a subgraph.

    Args:
        entry: the schema's accessor.
        index: its index in the subgraph.
        constants: the file's buffers.
        computed: whether it is a graph input or an operator writes it.
        where: how errors call the file.
        found: where faults go; it knows which tensor is read.

    Returns:
        The tensor, and whether its values are in the file. (A constant of a type that NumPy does not hold, a
        sparse one, or one with a fault has no `data` either.)

    Raises:
        ModelError: the constants overlap so much that they would take far more memory than the file.
    """
    name = (entry.Name() or b"").decode("utf-8", errors="backslashreplace")
    shape = () if entry.ShapeIsNone() else tuple(entry.ShapeAsNumpy().tolist())
    signature = tuple(entry.ShapeSignatureAsNumpy().tolist()) if entry.ShapeSignatureLength() else shape
    code = entry.Type()
    stored = dtype = DTYPES.get(code) or DType(f"unknown({code})", None, 0)
    usable = _shape_is_usable(shape, found)

    extent = constants.extent(entry.Buffer(), found)
    variable = bool(entry.IsVariable())
    if extent.length and variable:
        found.add(FaultKind.VARIABLE_WITH_DATA, f"is a variable and has constant data in buffer {entry.Buffer()}")
    # An empty buffer says "computed"; a constant without elements looks the same and is told apart by who
    # writes it.
    is_constant = (extent.length > 0 and not variable) or (0 in shape and not computed and not variable)
    if entry.Sparsity() is not None and is_constant:
        dtype = DType(f"sparse({dtype.name})", None, 0)
    quantization = entry.Quantization()
    if quantization is not None and quantization.DetailsType():
        dtype = DType(f"custom_quantization({dtype.name})", None, 0)
    if is_constant and stored.bits and usable:
        usable = _is_long_enough(extent, shape, stored, f"buffer {entry.Buffer()}", found)
    quant = None
    if quantization is not None and not quantization.DetailsType() and quantization.ScaleLength():
        quant = _read_quantization(quantization, shape, dtype, found)
    data = None
    if is_constant and usable and dtype.numpy is not None:
        data = constants.array(entry.Buffer(), extent, shape, dtype, where)
    return Tensor(index, name, shape, signature, dtype, quant, data, variable), is_constant


def _shape_is_usable(shape: tuple[int, ...], found: Findings) -> bool:
    """Whether NumPy and TFLite's kernels can hold this shape."""
    if len(shape) > _MAX_RANK:
        found.add(FaultKind.RANK, f"it has {len(shape)} dimensions; LastBit holds at most {_MAX_RANK}")
        return False
    if any(size < 0 for size in shape):
        found.add(FaultKind.SIZE_NEGATIVE, f"its shape is {list(shape)}; sizes from 0 up are wanted")
        return False
    # A 0 does not excuse the others: NumPy multiplies them.
    count = math.prod(max(size, 1) for size in shape)
    if count > _MAX_ELEMENTS:
        found.add(
            FaultKind.SIZE_LARGE,
            f"its shape {list(shape)} has {count} elements; TFLite counts them in int32, {_MAX_ELEMENTS} at most",
        )
        return False
    return True


def _is_long_enough(extent: _Extent, shape: tuple[int, ...], dtype: DType, buffer: str, found: Findings) -> bool:
    """Whether a constant has the bytes that its shape needs. All interpreters take more than that."""
    wanted = -(-math.prod(shape) * dtype.bits // 8)
    if extent.length < wanted:
        found.add(
            FaultKind.BUFFER_SHORT,
            f"{buffer} has {extent.length} bytes of data, wanted {wanted} for {dtype.name} {list(shape)}",
        )
        return False
    return True


def _read_quantization(entry: Any, shape: tuple[int, ...], dtype: DType, found: Findings) -> QuantParams:
    """Scales and zero points as the file has them. Which values a runtime can work with is judged by its operators."""
    # Copies, so that nothing of the file's alignment or byte order is left.
    scale = np.array(entry.ScaleAsNumpy(), np.float32)
    stored = np.array(entry.ZeroPointAsNumpy(), np.int64) if entry.ZeroPointLength() else np.zeros(1, np.int64)
    axis: int = entry.QuantizedDimension()
    if not entry.ZeroPointLength():
        found.add(FaultKind.NO_ZERO_POINTS, f"it has {scale.size} scales and no zero point")
    elif stored.size != scale.size:
        found.add(FaultKind.ZERO_POINT_COUNT, f"it has {scale.size} scales and {stored.size} zero points")
    # TFLite excuses tensors without dimensions: their axis means nothing.
    if axis < 0 or (shape and axis >= len(shape)):
        text = f"its quantized_dimension is {axis}, wanted 0 to {max(len(shape) - 1, 0)} for the shape {list(shape)}"
        found.add(FaultKind.QUANTIZED_DIMENSION, text)
    elif scale.size > 1 and (not shape or scale.size != shape[axis]):
        found.add(
            FaultKind.SCALE_COUNT,
            f"it has {scale.size} scales, wanted 1 or one for each of the {shape[axis] if shape else 0} channels "
            f"along dimension {axis} of its shape {list(shape)}",
        )
    if isinstance(dtype, IntegerType):
        # Compared as integers of Python: NumPy would round uint64's bounds.
        lowest, highest = int(stored.min()), int(stored.max())
        if lowest < dtype.qmin or highest > dtype.qmax:
            worst = lowest if lowest < dtype.qmin else highest
            text = f"a zero point is {worst}, wanted {dtype.qmin} to {dtype.qmax} as {dtype.name} holds"
            found.add(FaultKind.ZERO_POINT_RANGE, text)
    zero_point = stored if stored.size == scale.size else np.full(scale.shape, stored[0])
    scale.flags.writeable = False
    zero_point.flags.writeable = False
    return QuantParams(scale, zero_point, axis)
