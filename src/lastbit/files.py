"""Writing output files: whole, or not at all.

A file is written under a temporary name in the target's folder and then renamed, so that a file under the
target's name is always complete, and an error leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import IO

import numpy as np

from .errors import InputError
from .model import Tensor
from .types import Array

__all__ = ["ABOUT", "array_keys", "atomic_write", "check_target", "reason", "suffix", "write_arrays", "write_bytes"]

ABOUT = "about"
"""The entry of a .npz with what its arrays are, as JSON text."""


def suffix(path: str) -> str:
    """The end of a file's name from its last dot, in lower case."""
    return os.path.splitext(path)[1].lower()


def reason(error: BaseException) -> str:
    """What went wrong, without the path (the caller's message has it) and without line breaks."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return " ".join((str(error) or type(error).__name__).split())


def array_keys(tensors: Sequence[Tensor], taken: Collection[str] = ()) -> list[str]:
    """The key of each tensor in an archive: its name; its index if it has none; `name#index` if names repeat.

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
        # A name goes before an index that looks like it.
        while key in taken or key in keys or names.count(key) > int(usable):
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
    if suffix(path) not in suffixes:
        raise InputError(
            f"{path}: the output's name ends in {suffix(path)!r}, wanted {' or '.join(suffixes)}; rename it."
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
        full = error.errno in (
            errno.ENOSPC,
            getattr(errno, "EDQUOT", errno.ENOSPC),
        )  # Windows has no quota error
        advice = " Free some space or choose another disk." if full else ""
        raise InputError(f"{path}: cannot be written: {reason(error)}; nothing was changed.{advice}") from None
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
    if suffix(path) == ".npy":
        if len(arrays) != 1:
            raise InputError(f"{path}: a .npy holds one array, found {len(arrays)}; name the output .npz.")
        with atomic_write(path) as file:
            np.lib.format.write_array(file, np.asanyarray(next(iter(arrays.values()))), allow_pickle=False)
        return
    # Not numpy.savez: it takes keys as keyword arguments, so that an array cannot be called "file".
    with (
        atomic_write(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for key, array in arrays.items():
            entry = zipfile.ZipInfo(f"{key}.npy")  # dated 1980, whatever the clock says
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
