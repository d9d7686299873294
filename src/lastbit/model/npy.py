"""The header of a NumPy array in a file, checked: files come from anywhere."""

from __future__ import annotations

from typing import IO, Any

import numpy as np

from .errors import InputError

__all__ = ["HEAD_BYTES", "MAGIC", "Header", "how_to_save", "is_safetensors", "read_header"]

HEAD_BYTES = 16
"""Bytes of a file's begin that `how_to_save` looks at."""

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
        Exception: whatever NumPy raises for what is not a header.
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


_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "This is an image: decode it, and save its pixels with numpy.save."),
    (b"\xff\xd8\xff", "This is an image: decode it, and save its pixels with numpy.save."),
    (b"\x89HDF", "This is an HDF5 file: read the array with h5py, and save it with numpy.save."),
    (b"\x80", "This is a Python pickle: load it where it was made, and save the array with numpy.save."),
    (b"PAR1", "This is a Parquet file: read it with pyarrow or pandas, and save the array with numpy.save."),
    (b"\x1f\x8b", "This is a gzip archive: unpack it."),
)


def how_to_save(head: bytes) -> str:
    r"""What to do about a file that is no array, by its first bytes; empty where that is not known.

    >>> how_to_save(b"1,2,3\n")
    'This is a text: read it with numpy.loadtxt(path, delimiter=","), and save the array with numpy.save.'
    """
    for start, text in _OTHERS:
        if head.startswith(start):
            return text
    if head[4:8] == b"TFL3":
        return "This is a .tflite model, not its input."
    if is_safetensors(head):
        return (
            "This is a safetensors file: read it with safetensors.numpy.load_file, and save an array with numpy.save."
        )
    if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return 'This is a text: read it with numpy.loadtxt(path, delimiter=","), and save the array with numpy.save.'
    return ""


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins with the length of a JSON header (64 bits, little endian) and that header."""
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _LONGEST_SAFETENSORS_HEADER


_LONGEST_SAFETENSORS_HEADER = 100_000_000
