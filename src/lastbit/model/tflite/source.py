"""Getting the bytes of a model: from memory or a file, and saying what a file is when it is no .tflite."""

from __future__ import annotations

import mmap
import os
import stat

from ..errors import InputError, ModelError
from ..npy import HEAD_BYTES, is_safetensors
from ..types import FileBytes
from .check import IDENTIFIER

__all__ = ["not_tflite", "read_source"]

# Larger files are mapped, not read: an answer about a few of their bytes costs as little as of a small file.
_MAPPED_FROM = 1 << 26

_OF_KERAS = "`lastbit quantize FILE -o OUT.tflite --data SAMPLES.npy` makes a .tflite file of a Keras model"
# How other files begin, and what to do with each; the first that fits is reported.
_LOOKS_LIKE: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file (Keras .h5); {_OF_KERAS}"),
    (b"PK\x03\x04", f"a zip archive (Keras .keras, PyTorch .pt or a packed model); {_OF_KERAS}"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"version https://git-lfs", "a Git LFS pointer, not the model itself; run `git lfs pull`"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"<!", "an HTML page, perhaps of a failed download; download the raw file"),
    (b"<html", "an HTML page, perhaps of a failed download; download the raw file"),
    (b"\x80", "a Python pickle (PyTorch .pt); convert the model that it belongs to"),
    (b"{", "a JSON text; make the binary with `flatc --binary schema.fbs model.json`"),
)
_C_SOURCE = (b"#include", b"unsigned char", b"const ", b"alignas", b"/*", b"//")


def read_source(source: str | os.PathLike[str] | bytes) -> tuple[FileBytes, str]:
    """The bytes of a model, and what errors call it.

    Args:
        source: the path of a .tflite file, or its bytes.

    Returns:
        The bytes, and the path or `<bytes>`.

    Raises:
        ModelError: the file cannot be read or is not a .tflite file.
        InputError: `source` is neither a path nor bytes.
    """
    content: FileBytes
    if isinstance(source, bytes | bytearray | memoryview):
        content, name = bytes(source), "<bytes>"
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if not isinstance(name, str):
            raise InputError(f"a path of text is wanted, found {name!r}; decode it with os.fsdecode.")
        content = _read_file(name)
    else:
        raise InputError(
            f"a model is loaded from the path of a .tflite file or from its bytes; found {type(source).__name__}."
        )
    _refuse_other_formats(content, name)
    return content, name


def _read_file(name: str) -> FileBytes:
    """The bytes of a regular file; of a large one, a read-only map."""
    try:
        status = os.stat(name)
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            saved_model = os.path.exists(os.path.join(name, "saved_model.pb"))
            hint = (
                "It is a TensorFlow SavedModel; convert it with tf.lite.TFLiteConverter.from_saved_model"
                if saved_model
                else "Name a .tflite file in it"
            )
            raise ModelError(f"{name}: is a folder, wanted a .tflite file. {hint}.")
        # A pipe or a device may never end.
        if not stat.S_ISREG(mode):
            raise ModelError(f"{name}: is not a regular file; copy the model to a file first.")
        with open(name, "rb") as file:
            if status.st_size >= _MAPPED_FROM:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return file.read()
    except FileNotFoundError:
        raise ModelError(f"{name}: no such file. Check the path; a .tflite file is wanted.") from None
    except PermissionError:
        raise ModelError(f"{name}: cannot be read, permission denied. Check the file's permissions.") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: cannot be read: {error}. Check the path and the disk.") from None


def _refuse_other_formats(content: FileBytes, name: str) -> None:
    if not content:
        raise ModelError(f"{name}: the file is empty; download it or convert the model again.")
    if content[4:8] != IDENTIFIER and (len(content) < 8 or _guess(content)):
        raise not_tflite(content, name)


def not_tflite(content: FileBytes, name: str) -> ModelError:
    """The error for a file without the identifier: what it may be, and what to do."""
    looks = _guess(content)
    what = f" It looks like {looks}." if looks else " Download it or convert the model again."
    return ModelError(
        f"{name}: not a .tflite file: bytes 4 to 8 are {content[4:8]!r}, wanted the identifier {IDENTIFIER!r}.{what}"
    )


def _guess(content: FileBytes) -> str:
    """What a file without the identifier may be, and what to do with it; empty when nothing fits."""
    head = content[:4096].lstrip()
    if content[4:7] == b"TFL":
        return f"a TFLite file of another schema version ({content[4:8]!r}); convert the model again"
    for start, text in _LOOKS_LIKE:
        if content[: len(start)] == start or head.startswith(start):
            return text
    if is_safetensors(bytes(content[:HEAD_BYTES])):
        return (
            "a safetensors file, which holds weights alone: no operators, no scales. Convert the model that they "
            "belong to"
        )
    if head.startswith(_C_SOURCE) or b"unsigned char" in head:
        return "C source that holds the model as an array; ask for the .tflite, or turn the array back to binary"
    # Field 1 of ModelProto (ir_version, a small varint), then a length-delimited field.
    if len(content) > 2 and content[0] == 8 and 0 < content[1] < 32 and content[2] % 8 == 2:
        return "an ONNX or TensorFlow protobuf (.onnx, .pb); convert it to .tflite"
    if len(content) < 8:
        return "a truncated file; download it or convert the model again"
    return ""
