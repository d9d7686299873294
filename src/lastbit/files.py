"""Input arrays from files and output files from arrays: what the command line reads and writes.

Whatever is wrong with a file is an InputError that names it. Output is written to a temporary file in the target's
folder and renamed, so that a file under the target's name is always whole, and an error leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import IO, cast

import numpy as np

from .errors import InputError
from .model import Model, Tensor
from .types import Array

__all__ = ["array_keys", "atomic_write", "check_target", "read_array", "read_inputs", "write_arrays", "write_bytes"]

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
_NPY_MAGIC = b"\x93NUMPY"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")


# --- reading ---


def read_inputs(specs: Sequence[str], model: Model) -> dict[int, Array]:
    """Read a model's input arrays.

    Args:
        specs: paths, or `KEY=path` where KEY is an input tensor's name or index. Paths without a key are taken in the
            order of the model's inputs that no key names. A `.npz` may hold several inputs, each under its tensor's
            name or index (or `arr_0`, `arr_1`, ... in order); with one input and one array, any key will do.
            `.bin` and `.raw` are the tensor's own type without a header, in C order and little endian; `.f32`, `.i8`,
            `.u8`, `.i16` and `.i32` say the type. Their batch follows from the file's size.
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


def _split(spec: str, model: Model) -> tuple[Tensor | None, str]:
    """`KEY=path` to tensor and path. A path that has a `=` of its own is one as long as no input has that name."""
    # Names may have a `=` themselves, so every one is tried.
    for match in re.finditer("=", spec):
        key, path = spec[: match.start()], spec[match.end() :]
        tensor = _by_key(key, model)
        if tensor is not None:
            return tensor, path
    if "=" in spec and not os.path.exists(spec):
        raise InputError(
            f"-i {spec}: {spec.partition('=')[0]!r} is no input of {model.source}; its inputs are: {_labels(model)}."
        )
    return None, spec


def _by_key(key: str, model: Model) -> Tensor | None:
    named = [tensor for tensor in model.inputs if tensor.name == key]
    if len(named) > 1:
        raise InputError(
            f"{len(named)} inputs of {model.source} are named {key!r}; use the index: {_labels(model)}."
        )
    return named[0] if named else next((t for t in model.inputs if str(t.index) == key), None)


def _labels(model: Model) -> str:
    return ", ".join(tensor.label for tensor in model.inputs)


def _kind(path: str) -> str:
    """What a file is: `raw` by its name, `npy` or `npz` by its first bytes."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        # It would be read twice, and a pipe can be read once only.
        raise InputError(f"{path}: is not a regular file; save the input to a file first.")
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Check the path given with -i.") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, wanted an array file (.npy, .npz or .bin).") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {_reason(error)}.") from None
    if _suffix(path) in _RAW:
        return "raw"
    if head.startswith(_NPY_MAGIC):
        return "npy"
    if head.startswith(_ZIP_MAGIC):
        return "npz"
    what = "is empty" if not head else f"is neither .npy nor .npz (it begins with {head!r})"
    raise InputError(
        f"{path}: the file {what}. Save the input with numpy.save, or as raw values in a file named .bin."
    )


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
        raise InputError(
            f"{path}: holds {len(arrays)} arrays ({_some(arrays)}), wanted 1 for input {tensor.label}."
        )
    return next(iter(arrays.values()))


def _load(path: str) -> dict[str, Array]:
    """The arrays of a .npy or .npz file, in native byte order."""
    try:
        # Without pickles: an object array runs code when it is read.
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays = {"": loaded}
        else:
            with loaded:
                arrays = {key: loaded[key] for key in loaded.files}
    except MemoryError:
        raise InputError(f"{path}: its header asks for more memory than there is; the file is damaged.") from None
    except Exception as error:
        # A damaged archive raises whatever zipfile, zlib or the header's parser happen to raise.
        raise InputError(f"{path}: cannot be read as a NumPy array: {_reason(error)}") from None
    if other := [key for key, value in arrays.items() if not isinstance(value, np.ndarray)]:
        raise InputError(f"{path}: {_some(other)} is no array; save the inputs with numpy.savez.")
    return {key: value.astype(value.dtype.newbyteorder("="), copy=False) for key, value in arrays.items()}


def _match_archive(path: str, model: Model) -> list[tuple[Tensor, Array]]:
    """The arrays of a .npz, each with the input that its key names."""
    arrays = _load(path)
    pairs = {key: _by_key(key, model) for key in arrays}
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
    stated = _RAW[_suffix(path)]
    own = tensor.dtype.numpy
    if stated is None and (own is None or tensor.dtype.bits != 8 * own.itemsize):
        raise InputError(f"{path}: raw values of {tensor.dtype.name} cannot be read; give a .npy file.")
    dtype = np.dtype(stated) if stated else cast("np.dtype[np.generic]", own).newbyteorder("<")
    # The only dimension of a vector is its depth, not a batch.
    sample = tensor.shape[1:] if len(tensor.shape) > 1 else tensor.shape
    wanted = math.prod(sample) * dtype.itemsize
    try:
        content = np.fromfile(path, np.uint8)
    except (OSError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read: {_reason(error)}.") from None
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


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _some(keys: Sequence[str] | Mapping[str, object], limit: int = 8) -> str:
    names = [repr(key) for key in keys]
    return ", ".join(names[:limit]) + (f", and {len(names) - limit} more" if len(names) > limit else "")


def _reason(error: BaseException) -> str:
    """What went wrong, without the path (the caller's message has it) and without line breaks."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return " ".join((str(error) or type(error).__name__).split())


# --- writing ---


def array_keys(tensors: Sequence[Tensor], taken: Collection[str] = ()) -> list[str]:
    """The key of each tensor in an archive: its name; its index where it has none; `name#index` where names repeat.

    Args:
        tensors: each tensor once.
        taken: keys that are not free.

    >>> from lastbit.types import DTYPES
    >>> names = ["y", "", "z", "z"]
    >>> array_keys([Tensor(i, name, (1,), (1,), DTYPES[9], None, None) for i, name in enumerate(names)])
    ['y', '1', 'z#2', 'z#3']
    """
    names = [tensor.name for tensor in tensors]
    keys: list[str] = []
    for tensor in tensors:
        usable = tensor.name.isprintable() and 0 < len(tensor.name) <= _LONGEST_KEY
        key = tensor.name if usable else str(tensor.index)
        while key in taken or key in keys or names.count(key) > 1:
            key += f"#{tensor.index}"
        keys.append(key)
    return keys


# Archives allow 65535 bytes; no tool shows such a name.
_LONGEST_KEY = 1000


def check_target(path: str, suffixes: Sequence[str], keep: Sequence[str] = ()) -> None:
    """Refuse a target that cannot be written, before anything is computed for it.

    Args:
        path: the file to be written.
        suffixes: the endings it may have, such as `.npz`.
        keep: files that it must not replace: what is being read.

    Raises:
        InputError: with the reason.
    """
    if _suffix(path) not in suffixes:
        raise InputError(
            f"{path}: found a name that ends in {_suffix(path)!r}, wanted {' or '.join(suffixes)} for the output."
        )
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise InputError(f"{path}: cannot be written: there is no folder {folder}; make it first.")
    if os.path.isdir(target):
        raise InputError(f"{path}: cannot be written: it is a folder; name a file in it.")
    # Renaming onto a device or a pipe would replace it.
    if os.path.exists(target) and not os.path.isfile(target):
        raise InputError(f"{path}: cannot be written: it is not a regular file.")
    if not os.access(target if os.path.exists(target) else folder, os.W_OK):
        raise InputError(f"{path}: cannot be written: permission denied.")
    for other in keep:
        if os.path.exists(other) and os.path.exists(target) and os.path.samefile(other, target):
            raise InputError(f"{path}: is being read and would be replaced; choose another name for the output.")


@contextlib.contextmanager
def atomic_write(path: str) -> Iterator[IO[bytes]]:
    """A file to write that gets its name only when all of it is on the disk.

    Args:
        path: the target; `check_target` has accepted it.

    Yields:
        The file, open for writing.

    Raises:
        InputError: it cannot be written. The target is as it was, and no temporary file is left.
    """
    target = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(target), f".lastbit-{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quota error
        advice = " Free some space or choose another disk." if full else ""
        raise InputError(f"{path}: cannot be written: {_reason(error)}; nothing was changed.{advice}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def write_bytes(path: str, content: bytes) -> None:
    """Write a file, whole or not at all (see `atomic_write`)."""
    with atomic_write(path) as file:
        file.write(content)


def write_arrays(path: str, arrays: Mapping[str, Array]) -> None:
    """Write arrays to a .npz, or the only one to a .npy; whole or not at all (see `atomic_write`).

    The same arrays give the same bytes.

    Args:
        path: the target. Its ending, `.npz` or `.npy`, says the format.
        arrays: key -> array.

    Raises:
        InputError: it cannot be written, or several arrays should go into a .npy.
    """
    if _suffix(path) == ".npy":
        if len(arrays) != 1:
            raise InputError(f"{path}: a .npy holds one array, found {len(arrays)}; name the output .npz.")
        with atomic_write(path) as file:
            np.lib.format.write_array(file, np.asanyarray(*arrays.values()), allow_pickle=False)
        return
    # Not numpy.savez: it takes keys as keyword arguments, so that an array cannot be called "file".
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for key, array in arrays.items():
            entry = zipfile.ZipInfo(f"{key}.npy")  # dated 1980, whatever the clock says
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(cast("IO[bytes]", member), np.asanyarray(array), allow_pickle=False)
