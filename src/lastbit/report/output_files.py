"""Writing output files: whole, or not at all.

A file is written under a temporary name in the target's folder and then renamed, so that a file under the
target's name is always complete, and an error leaves nothing behind. What a killed process has left in a folder is
removed by the next one that writes there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from ..model.errors import InputError
from ..model.types import Array
from .json_text import json_text

__all__ = [
    "ABOUT",
    "atomic_write",
    "check_folder",
    "check_target",
    "reason",
    "suffix",
    "write_arrays",
    "write_bytes",
    "write_folder",
]

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
    temporary = ""
    try:
        clear_leftovers(os.path.dirname(target))
        temporary, file = _open_temporary(os.path.dirname(target))
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not _WINDOWS:  # as long as it is open, nobody takes it for a leftover
                _rename(temporary, target)
        if _WINDOWS:  # which renames no open file
            _rename(temporary, target)
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


def _rename(temporary: str, target: str) -> None:
    if os.path.exists(target):
        shutil.copymode(target, temporary)
    os.replace(temporary, target)


_WINDOWS = sys.platform == "win32"
_OLD_SECONDS = 3600.0
_TEMPORARY = re.compile(r"\.lastbit-[0-9a-f]{12}\.tmp")


def _open_temporary(folder: str) -> tuple[str, IO[bytes]]:
    """A new file that is locked as long as it is open, so that nobody takes it for a leftover."""
    while True:
        path = os.path.join(folder, f".lastbit-{secrets.token_hex(6)}.tmp")
        file = open(path, "xb")  # noqa: SIM115 - the caller closes it
        try:
            _lock(file.fileno(), wait=True)
            # Another process may have looked between the two lines above.
            if os.path.exists(path):
                return path, file
        except OSError:  # a file system without locks: nothing is cleared there either
            return path, file
        file.close()


def clear_leftovers(folder: str) -> None:
    """Remove the temporary files of processes that were killed while they wrote to a folder."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _TEMPORARY.fullmatch(name):
                with contextlib.suppress(OSError):
                    _remove_unlocked(os.path.join(folder, name))


def _remove_unlocked(path: str) -> None:
    """Remove a file that nobody has locked.

    Raises:
        OSError: it is locked, or cannot be.
    """
    if _WINDOWS:  # without these locks: what is old
        if time.time() - os.stat(path).st_mtime > _OLD_SECONDS:
            os.unlink(path)
        return
    with open(path, "rb") as file:
        _lock(file.fileno(), wait=False)
        os.unlink(path)


def _lock(descriptor: int, wait: bool) -> None:
    """Lock an open file until it is closed, also by the end of the process (not on Windows)."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def write_bytes(path: str, content: bytes) -> None:
    """Write a file, whole or not at all (see `atomic_write`)."""
    with atomic_write(path) as file:
        file.write(content)


def check_folder(folder: str) -> None:
    """Refuse a folder that cannot be written to, before anything is computed for it.

    Raises:
        InputError: with the reason.
    """
    parent = os.path.dirname(os.path.abspath(folder))
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise InputError(f"{folder} is a file. Give -o the name of a folder.")
    if not os.path.isdir(folder) and not os.path.isdir(parent):
        raise InputError(f"{folder}: cannot be made: there is no folder {parent}. Make that one first.")
    if not os.access(folder if os.path.isdir(folder) else parent, os.W_OK):
        raise InputError(f"{folder}: cannot be written: permission denied.")


def write_folder(folder: str, files: Mapping[str, bytes], keep: Sequence[str] = ()) -> list[str]:
    """Write files into a folder, each whole or not at all.

    Args:
        folder: where to; made if it is not there, but not its parents.
        files: file name -> content.
        keep: files that must not be replaced: what is being read.

    Returns:
        The paths.

    Raises:
        InputError: the folder or a file cannot be written; what is written and what is not is said.
    """
    check_folder(folder)
    try:
        if not os.path.isdir(folder):
            os.mkdir(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {reason(error)}; name a folder in one that exists.") from None
    targets = {os.path.join(folder, name): content for name, content in files.items()}
    for path in targets:
        check_target(path, [suffix(path)], keep=keep)
    paths: list[str] = []
    for path, content in targets.items():
        try:
            write_bytes(path, content)
        except InputError as error:
            raise InputError(f"{error}\n{_part(paths, list(targets))}") from None
        paths.append(path)
    return paths


def _part(written: Sequence[str], wanted: Sequence[str]) -> str:
    """What is there and what is not, after a set of files could not be written whole."""
    missing = wanted[len(written) :]
    there = (
        f"{len(written)} of {len(wanted)} files are written: {', '.join(written)}."
        if written
        else "No file is written."
    )
    return f"{there}\nNot written: {', '.join(missing)}."


def write_arrays(path: str, arrays: Mapping[str, Array], about: Mapping[str, Any] | None = None) -> None:
    """Write arrays to a .npz, or the only one to a .npy; whole or not at all (see `atomic_write`).

    The same arrays give the same bytes.

    Args:
        path: the target. Its ending, `.npz` or `.npy`, says the format.
        arrays: key -> array. Keys become the names of files in the archive, so nothing of a model's file is in them.
        about: what they are, for the entry `about` of a .npz, as JSON text.

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
        told = {} if about is None else {ABOUT: np.asarray(json_text(dict(about)))}
        for key, array in {**arrays, **told}.items():
            entry = zipfile.ZipInfo(f"{key}.npy")  # dated 1980, whatever the clock says
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
