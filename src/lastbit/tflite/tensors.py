"""Reading tensors: element type, shape, quantization, and the values of constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ModelError
from ..model import Tensor
from ..types import DTYPES, Array, DType, QuantParams

__all__ = ["Constants", "read_tensor", "unpack_int4"]

# NumPy 1 holds 32 dimensions.
_MAX_RANK = 32
# TFLite's kernels count elements in int32. A computed tensor beyond that is no tensor but a damaged shape.
_MAX_ELEMENTS = 2**31 - 1

_DAMAGED = "the file is damaged, convert the model again."


class Constants:
    """The file's buffers, as arrays that share the file's memory where they can."""

    def __init__(self, content: bytes, root: Any) -> None:
        self.content = content
        self.root = root
        self.count: int = root.BuffersLength()
        # Copies are kept by what they were made of, and limited: many buffers may view the same long bytes.
        self.copies: dict[tuple[int, str], Array] = {}
        self.copy_budget = (1 << 20) + 4 * len(content)

    def extent(self, index: int, where: str) -> tuple[int, int]:
        """Where a buffer's bytes are in the file: (start, length). A length of 0 means that it has none."""
        if index >= self.count:
            raise ModelError(f"{where}: its buffer is {index}, but the file has {self.count} buffers; {_DAMAGED}")
        buffer = self.root.Buffers(index)
        length: int = buffer.DataLength()
        if length:
            table = buffer._tab
            start: int = table.Vector(table.Offset(4))
        else:
            # Models beyond 2 GB have their constants behind the FlatBuffer; 0 and 1 both say "not here"
            # (TFLite writes 1 as a placeholder).
            start, length = buffer.Offset(), buffer.Size()
            if start <= 1:
                return 0, 0
            if start + length > len(self.content):
                raise ModelError(
                    f"{where}: its buffer {index} is at bytes {start} to {start + length} of the file, "
                    f"which has {len(self.content)} bytes; the file is truncated, download it or convert "
                    "the model again."
                )
        if length and index == 0:
            raise ModelError(
                f"{where}: its buffer is 0, which says that it has no constant data, but buffer 0 has "
                f"{length} bytes, wanted 0; {_DAMAGED}"
            )
        return start, length

    def array(self, index: int, extent: tuple[int, int], shape: tuple[int, ...], dtype: DType, where: str) -> Array:
        """The constant at `extent`, read-only; its length has been checked."""
        assert dtype.numpy is not None
        start, length = extent
        little = dtype.numpy.newbyteorder("<")
        if dtype.bits != 4:
            view = np.frombuffer(self.content, little, math.prod(shape), start).reshape(shape)
            if view.flags.aligned and little == dtype.numpy:
                return view
        key = (index, dtype.name)
        if key not in self.copies:
            if dtype.bits == 4:
                self.spend(2 * length, where)
                packed = np.frombuffer(self.content, np.uint8, length, start)
                # All of it: the same bytes may be of an odd and of an even number of values.
                copy = unpack_int4(packed, 2 * length)
            else:
                self.spend(length, where)
                copy = view.reshape(-1).astype(dtype.numpy)
            copy.flags.writeable = False
            self.copies[key] = copy
        return self.copies[key][: math.prod(shape)].reshape(shape)

    def spend(self, count: int, where: str) -> None:
        """Refuse a file whose constants take far more memory than the file has bytes."""
        self.copy_budget -= count
        if self.copy_budget < 0:
            raise ModelError(
                f"{where}: the constants take more than four times the file's {len(self.content)} bytes, "
                f"because its buffers overlap each other; {_DAMAGED}"
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


def read_tensor(entry: Any, index: int, constants: Constants, computed: bool, where: str) -> tuple[Tensor, bool]:
    """One tensor of a subgraph.

    Args:
        entry: the schema's accessor.
        index: its index in the subgraph.
        constants: the file's buffers.
        computed: whether it is a graph input or an operator writes it.
        where: how errors call the subgraph.

    Returns:
        The tensor, and whether its values are in the file. (A constant of a type that NumPy does not hold, or
        a sparse one, has no `data` either.)

    Raises:
        ModelError: shape, quantization or constant data contradict each other.
    """
    name = (entry.Name() or b"").decode("utf-8", errors="backslashreplace")
    label = f"{where}: tensor {index} {name!r}"
    shape = () if entry.ShapeIsNone() else tuple(entry.ShapeAsNumpy().tolist())
    signature = tuple(entry.ShapeSignatureAsNumpy().tolist()) if entry.ShapeSignatureLength() else shape
    _check_shape(shape, signature, label)
    code = entry.Type()
    dtype = DTYPES.get(code) or DType(f"unknown({code})", None, 0)

    extent = constants.extent(entry.Buffer(), label)
    variable = bool(entry.IsVariable())
    if extent[1] and variable:
        raise ModelError(
            f"{label}: is a variable and has constant data in buffer {entry.Buffer()}; TFLite allows only "
            "one of the two, convert the model again."
        )
    # An empty buffer says "computed"; a constant without elements looks the same and is told apart by who
    # writes it.
    is_constant = extent[1] > 0 or (0 in shape and not computed and not variable)
    if entry.Sparsity() is not None and is_constant:
        dtype = DType(f"sparse({dtype.name})", None, 0)
    if extent[1] and dtype.bits:
        # The bytes are there, so the shape cannot be larger than the file.
        _check_length(extent[1], shape, dtype, f"{label}: buffer {entry.Buffer()}")
    else:
        _check_size(shape, label)

    quant = None
    quantization = entry.Quantization()
    if quantization is not None and quantization.DetailsType():
        dtype = DType(f"custom_quantization({dtype.name})", None, 0)
    elif quantization is not None and quantization.ScaleLength():
        quant = _read_quantization(quantization, shape, dtype, label)

    data = None
    if is_constant and dtype.numpy is not None:
        data = constants.array(entry.Buffer(), extent, shape, dtype, label)
    return Tensor(index, name, shape, signature, dtype, quant, data, variable), is_constant


def _check_shape(shape: tuple[int, ...], signature: tuple[int, ...], label: str) -> None:
    if len(shape) > _MAX_RANK:
        raise ModelError(f"{label}: it has {len(shape)} dimensions, wanted at most {_MAX_RANK}; {_DAMAGED}")
    if any(size < 0 for size in shape):
        raise ModelError(
            f"{label}: its shape is {list(shape)}, wanted sizes from 0 up (only shape_signature may have "
            f"-1); {_DAMAGED}"
        )
    if len(signature) != len(shape) or any(size < -1 for size in signature):
        raise ModelError(
            f"{label}: its shape_signature is {list(signature[: _MAX_RANK + 1])}, wanted {len(shape)} sizes "
            f"from -1 up as its shape {list(shape)} has; {_DAMAGED}"
        )


def _check_size(shape: tuple[int, ...], label: str) -> None:
    """Refuse a shape that no memory can hold. A 0 does not excuse the others: NumPy multiplies them."""
    count = math.prod(max(size, 1) for size in shape)
    if count > _MAX_ELEMENTS:
        raise ModelError(
            f"{label}: its shape {list(shape)} has {count} elements, wanted at most {_MAX_ELEMENTS} (TFLite "
            f"counts in int32); {_DAMAGED}"
        )


def _check_length(found: int, shape: tuple[int, ...], dtype: DType, label: str) -> None:
    wanted = -(-math.prod(shape) * dtype.bits // 8)
    if found != wanted:
        raise ModelError(
            f"{label} has {found} bytes of data, wanted {wanted} for {dtype.name} {list(shape)}; {_DAMAGED}"
        )


def _read_quantization(entry: Any, shape: tuple[int, ...], dtype: DType, label: str) -> QuantParams:
    """Scales and zero points, checked against each other, the shape and the element type."""
    # Copies, so that nothing of the file's alignment or byte order is left.
    scale = np.array(entry.ScaleAsNumpy(), np.float32)
    stored = np.array(entry.ZeroPointAsNumpy(), np.int64) if entry.ZeroPointLength() else np.zeros(1, np.int64)
    axis: int = entry.QuantizedDimension()
    bad = ~(np.isfinite(scale) & (scale > 0))
    if bad.any():
        channel = int(bad.argmax())
        raise ModelError(f"{label}: scale {channel} is {scale[channel]}, wanted a positive finite number; {_DAMAGED}")
    if stored.size not in (1, scale.size):
        raise ModelError(
            f"{label}: it has {scale.size} scales and {stored.size} zero points, wanted as many; {_DAMAGED}"
        )
    # TFLite excuses tensors without dimensions: their axis means nothing.
    if axis < 0 or (shape and axis >= len(shape)):
        raise ModelError(
            f"{label}: its quantized_dimension is {axis}, wanted 0 to {max(len(shape) - 1, 0)} for the "
            f"shape {list(shape)}; {_DAMAGED}"
        )
    if scale.size > 1 and (not shape or scale.size != shape[axis]):
        raise ModelError(
            f"{label}: it has {scale.size} scales, wanted 1 or one for each of the "
            f"{shape[axis] if shape else 0} channels along dimension {axis} of its shape {list(shape)}; "
            f"{_DAMAGED}"
        )
    if dtype.qmin is not None and dtype.qmax is not None:
        # Compared as integers of Python: NumPy would round uint64's bounds.
        lowest, highest = int(stored.min()), int(stored.max())
        if lowest < dtype.qmin or highest > dtype.qmax:
            worst = lowest if lowest < dtype.qmin else highest
            raise ModelError(
                f"{label}: a zero point is {worst}, wanted {dtype.qmin} to {dtype.qmax} as {dtype.name} "
                f"holds; {_DAMAGED}"
            )
    zero_point = np.broadcast_to(stored, scale.shape).copy()
    scale.flags.writeable = False
    zero_point.flags.writeable = False
    return QuantParams(scale, zero_point, axis)
