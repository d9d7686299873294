"""Input arrays from files: .npy, .npz and raw values.

Whatever is wrong with a file is an InputError that names it.
"""

from __future__ import annotations

import math
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..model.errors import InputError
from ..model.graph import Model, Tensor
from ..model.npy import HEAD_BYTES, MAGIC, how_to_save, read_header
from ..model.types import Array
from .input_files import DAMAGED
from .output_files import ABOUT, reason, suffix

__all__ = ["possible_paths", "read_array", "read_inputs", "read_layer_inputs", "read_several"]

# Files without a header: the element type, or None for the tensor's own.
_RAW: dict[str, str | None] = {
    ".bin": None,
    ".raw": None,
    ".f32": "<f4",
    ".i8": "|i1",
    ".u8": "|u1",
    ".i16": "<i2",
    ".i32": "<i4",
}
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")


def read_inputs(specs: Sequence[str], model: Model) -> dict[int, Array]:
    """Read a model's input arrays.

    Args:
        specs: paths, or `KEY=path` where KEY is an input tensor's name, its name in the signature, or its index.
            Paths without a key are
            taken in the order of the model's inputs that no key names. A `.npz` may hold several inputs, each
            under its tensor's name or index (or `arr_0`, `arr_1`, ... in order); with one input and one
            array, any key will do. `.bin` and `.raw` are the tensor's own type without a header, in C order
            and little endian; `.f32`, `.i8`, `.u8`, `.i16` and `.i32` say the type. Their batch follows from
            the file's size.
        model: the model.

    Returns:
        Tensor index -> array, one for each of the model's inputs. Shapes and types are not checked here.

    Raises:
        InputError: a file is missing, damaged or does not fit, or an input is missing or given twice.
    """
    found: dict[int, Array] = {}
    unnamed: list[str] = []

    def put(tensor: Tensor, array: Array, spec: str) -> None:
        if tensor.index in found:
            raise InputError(f"{spec}: input {tensor.label} is given twice; give it once.")
        found[tensor.index] = array

    for spec in specs:
        named, path = _split(spec, model)
        if named is None and _kind(path) == "npz":
            for tensor, array in _match_archive(path, model):
                put(tensor, array, spec)
        elif named is None:
            unnamed.append(path)
        else:
            put(named, read_array(path, named), spec)
    rest = [tensor for tensor in model.inputs if tensor.index not in found]
    if rest and not specs:
        kinds = [f"({tensor.dtype.name}, {list(tensor.shape)})" for tensor in rest]
        each = ", ".join(f"{tensor.label} {what}" for tensor, what in zip(rest, kinds, strict=True))
        advice = f"Add -i x.npy {kinds[0]}." if len(rest) == 1 else f"Add -i FILE or -i NAME=FILE for each of {each}."
        raise InputError(f"No input given. {advice}")
    if len(unnamed) != len(rest):
        wanted = ", ".join(tensor.label for tensor in rest)
        raise InputError(
            f"{model.source}: found {len(unnamed)} input files without a name, "
            + (f"wanted {len(rest)}, for {wanted}." if rest else "but every input is given already.")
            + " Give each input with -i FILE (in order) or -i NAME=FILE."
        )
    for tensor, path in zip(rest, unnamed, strict=True):
        put(tensor, read_array(path, tensor), path)
    return found


def possible_paths(specs: Sequence[str]) -> list[str]:
    """The files that `-i` options may mean: NAME=FILE, where names have a `=` as well."""
    found = []
    for spec in specs:
        parts = spec.split("=")
        found += ["=".join(parts[start:]) for start in range(len(parts))]
    return found


def read_layer_inputs(specs: Sequence[str], model: Model, op: int | None) -> Array | dict[int, Array] | None:
    """Input files of a verb that takes a model's inputs or one dense layer's own.

    Args:
        specs: see `read_inputs`.
        model: the model.
        op: the dense layer's index; None for the first one.

    Returns:
        None without files; one array; or several, by tensor index.

    Raises:
        InputError: see `read_inputs`.
    """
    if not specs:
        return None
    if len(specs) == 1 and len(model.inputs) > 1:
        # One array for many inputs can only be the layer's own.
        layer = next(iter(model.dense_operators), None) if op is None else model.operator(op)
        own = model.operand(layer, 0) if layer is not None else None
        return read_array(specs[0], own or model.inputs[0])
    arrays = read_inputs(specs, model)
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def _split(spec: str, model: Model) -> tuple[Tensor | None, str]:
    """`KEY=path` to tensor and path. A path may have a `=` of its own, as long as no input has that name."""
    # Names may have a `=` themselves, so every one is tried.
    for match in re.finditer("=", spec):
        key, path = spec[: match.start()], spec[match.end() :]
        tensor = model.input_named(key)
        if tensor is not None:
            return tensor, path
    if "=" in spec and not os.path.exists(spec):
        raise InputError(
            f"-i {spec}: {spec.partition('=')[0]!r} is not an input of {model.source}; "
            f"its inputs are: {_labels(model)}."
        )
    return None, spec


def _labels(model: Model) -> str:
    return ", ".join(map(model.input_label, model.inputs))


def _kind(path: str) -> str:
    """What a file is: `raw` by its name, `npy` or `npz` by its first bytes."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        # It would be read twice, and a pipe can be read once only.
        raise InputError(f"{path}: is not a regular file; save the input to a file first.")
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Check the path.") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, wanted an array file (.npy, .npz or .bin).") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}.") from None
    if suffix(path) in _RAW:
        return "raw"
    if head.startswith(MAGIC):
        return "npy"
    if head.startswith(_ZIP_MAGIC):
        return "npz"
    what = "is empty" if not head else f"is neither .npy nor .npz (it begins with {head[:8]!r})"
    advice = how_to_save(head) or "Save the array with numpy.save, or as raw values in a file named .bin."
    raise InputError(f"{path}: the file {what}. {advice}")


def read_array(path: str, tensor: Tensor) -> Array:
    """The one array of a file.

    Args:
        path: the file (see `read_inputs` for the formats).
        tensor: what it is for: the type and shape of a file without a header.

    Raises:
        InputError: the file is missing, damaged, or has not one array.
    """
    kind = _kind(path)
    if kind == "raw":
        return _read_raw(path, tensor)
    arrays = _load(path)
    if len(arrays) != 1:
        raise InputError(f"{path}: holds {len(arrays)} arrays ({_some(arrays)}), wanted 1 for input {tensor.label}.")
    return next(iter(arrays.values()))


def read_several(path: str, tensor: Tensor) -> Array | dict[str, Array]:
    """The one array of a file, or the arrays of a `.npz` by their names.

    Args:
        path: the file.
        tensor: what one array is for: the type and shape of a file without a header.

    Raises:
        InputError: the file is missing or damaged.
    """
    arrays = _load(path) if _kind(path) == "npz" else {}
    return arrays if len(arrays) > 1 else read_array(path, tensor)


def _load(path: str) -> dict[str, Array]:
    """The arrays of a .npy or .npz file, in native byte order."""
    try:
        _check_headers(path)
        # Without pickles: an object array runs code when it is read.
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays = {"": loaded}
        else:
            with loaded:
                arrays = {key: loaded[key] for key in loaded.files if key != ABOUT}
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: its header asks for more memory than there is; the file is damaged.") from None
    except Exception as error:
        # A damaged archive raises whatever zipfile, zlib or the header's parser happen to raise.
        raise InputError(f"{path}: cannot be read as a NumPy array: {reason(error)}. {DAMAGED}") from None
    if other := [key for key, value in arrays.items() if not isinstance(value, np.ndarray)]:
        raise InputError(f"{path}: {_some(other)} is not an array; save the inputs with numpy.savez.")
    return {key: value.astype(value.dtype.newbyteorder("="), copy=False) for key, value in arrays.items()}


def _check_headers(path: str) -> None:
    """Refuse what no array of numbers can be, before NumPy reads it."""
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            file.seek(0)
            read_header(file, path)
            return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as member:
                    read_header(member, f"{path} ({name.removesuffix('.npy')})")


def _match_archive(path: str, model: Model) -> list[tuple[Tensor, Array]]:
    """The arrays of a .npz, each with the input that its key names."""
    arrays = _load(path)
    pairs = {key: model.input_named(key) for key in arrays}
    if not any(pairs.values()):
        ordered = [f"arr_{position}" for position in range(len(model.inputs))]
        if len(arrays) == len(model.inputs) == 1:
            return [(model.inputs[0], next(iter(arrays.values())))]
        if set(arrays) == set(ordered):
            return [(tensor, arrays[key]) for tensor, key in zip(model.inputs, ordered, strict=True)]
    result = []
    for key, tensor in pairs.items():
        if tensor is None:
            raise InputError(
                f"{path}: key {key!r} matches no input of {model.source}; its inputs are: {_labels(model)}. "
                "Save each array under its input's name or index."
            )
        result.append((tensor, arrays[key]))
    if not result:
        raise InputError(f"{path}: holds no arrays, wanted: {_labels(model)}.")
    return result


def _read_raw(path: str, tensor: Tensor) -> Array:
    """A file without a header: the batch follows from its size."""
    stated = _RAW[suffix(path)]
    own = tensor.dtype.numpy
    if stated is None and (own is None or tensor.dtype.bits != 8 * own.itemsize):
        raise InputError(f"{path}: raw values of {tensor.dtype.name} cannot be read; give a .npy file.")
    dtype: np.dtype[Any] = np.dtype(stated or own).newbyteorder("<")
    # The only dimension of a vector is its depth, not a batch.
    sample = tensor.shape[1:] if len(tensor.shape) > 1 else tensor.shape
    wanted = math.prod(sample) * dtype.itemsize
    try:
        content = np.fromfile(path, np.uint8)
    except (OSError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}.") from None
    batch = content.size // wanted if wanted else 0
    fits = batch >= 1 and content.size == batch * wanted and (len(tensor.shape) > 1 or batch == 1)
    if not fits:
        amount = "a multiple of " if len(tensor.shape) > 1 else ""
        raise InputError(
            f"{path}: found {content.size} bytes, wanted {amount}{wanted} (one sample of {tensor.label}: "
            f"{dtype.name}{list(sample)})."
        )
    shape = (batch, *sample) if len(tensor.shape) > 1 else sample
    return content.view(dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def _some(keys: Sequence[str] | Mapping[str, object], limit: int = 8) -> str:
    names = [repr(key) for key in keys]
    return ", ".join(names[:limit]) + (f", and {len(names) - limit} more" if len(names) > limit else "")
