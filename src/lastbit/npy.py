"""The header of a NumPy array in a file, checked: files come from anywhere."""

from __future__ import annotations

from typing import IO, Any

import numpy as np

from .errors import InputError

__all__ = ["MAGIC", "Header", "read_header"]

MAGIC = b"\x93NUMPY"

Header = tuple[tuple[int, ...], bool, np.dtype[Any]]
"""Shape, whether it is stored column by column, and the type of the elements."""


def read_header(file: IO[bytes], label: str) -> Header:
    """Read the header of a .npy, and leave the file at its values.

    Args:
        file: open at the begin of the array.
        label: how messages name it.

    Raises:
        InputError: it holds Python objects, or its header says what cannot be.
        Exception: whatever NumPy raises for a header that is none.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise InputError(
            f"{label}: the file holds Python objects, not numbers. Save an array of numbers, such as "
            "numpy.asarray(values, numpy.float32)."
        )
    if any(size < 0 for size in shape):
        raise InputError(f"{label}: its header says the shape {list(shape)}; the file is damaged. Save it again.")
    return tuple(map(int, shape)), bool(fortran), dtype
