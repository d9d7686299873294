"""Data sets of any size, read in pieces: a .npy, a .npz, or a folder of them (shards in the order of their names).

Memory stays constant: no file is loaded whole. What is wrong with a file's beginning or its size is found before
anything is computed.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from ..errors import InputError
from ..files import reason
from ..types import Array

__all__ = ["DataSet", "Shard", "open_data"]


@dataclass(frozen=True)
class Shard:
    """One array in one file.

    Attributes:
        path: the file.
        member: its entry in a .npz; empty for a .npy.
        shape: of the array; the first dimension counts the rows.
        dtype: its type, as stored.
        offset: bytes before the values, from the begin of the file or entry.
        stamp: size and time of the file, to notice that it changed.
    """

    path: str
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    stamp: tuple[int, int]

    @property
    def rows(self) -> int:
        """Rows of the array."""
        return self.shape[0]

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.path} ({self.member.removesuffix('.npy')})" if self.member else self.path

    def chunks(self, begin: int, size: int) -> Iterator[Array]:
        """Arrays of at most `size` rows, from row `begin` on, in native byte order.

        Raises:
            InputError: the file ends too early, or is damaged.
        """
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        try:
            with _open(self.path, self.member) as file:
                file.seek(self.offset + begin * row_bytes)
                for start in range(begin, self.rows, size):
                    count = min(size, self.rows - start)
                    content = file.read(count * row_bytes)
                    if len(content) < count * row_bytes:
                        raise InputError(
                            f"{self.label}: ends in row {start + len(content) // max(row_bytes, 1)}; its header "
                            f"promises {self.rows} rows. The file is cut off: copy it again."
                        )
                    values = np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])
                    yield values.astype(self.dtype.newbyteorder("="), copy=False)
        except (OSError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
            raise InputError(f"{self.label}: cannot be read: {reason(error)}.") from None
        except Exception as error:
            if type(error).__module__ == "zlib":
                raise InputError(f"{self.label}: is damaged: {reason(error)}.") from None
            raise


@dataclass(frozen=True)
class DataSet:
    """Shards, one behind the other.

    Attributes:
        path: what the user named.
        shards: at least one; all of one type, and of one shape but for the rows.
    """

    path: str
    shards: tuple[Shard, ...]

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(shard.rows for shard in self.shards)

    @property
    def sample(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.shards[0].shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type, in native byte order."""
        return self.shards[0].dtype.newbyteorder("=")

    @property
    def identity(self) -> list[list[Any]]:
        """What must be unchanged for going on with a partial result: name, rows, size and time of each file."""
        return [[os.path.basename(s.path), s.member, s.rows, *s.stamp] for s in self.shards]

    def chunks(self, begin: int, size: int) -> Iterator[Array]:
        """Arrays of at most `size` rows from row `begin` on; no array spans two shards."""
        skipped = begin
        for shard in self.shards:
            if skipped >= shard.rows:
                skipped -= shard.rows
                continue
            yield from shard.chunks(skipped, size)
            skipped = 0

    def aligned_chunks(self, begin: int, sizes: Iterator[int]) -> Iterator[Array]:
        """Arrays of the sizes asked for, one after the other: what goes with another set's chunks."""
        waiting: list[Array] = []
        held = 0
        source = self.chunks(begin, 1 << 16)
        for size in sizes:
            while held < size:
                waiting.append(next(source))
                held += len(waiting[-1])
            joined = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            yield joined[:size]
            waiting, held = [joined[size:]], held - size


def open_data(path: str, keys: Sequence[str], what: str) -> DataSet:
    """Find the arrays of a data set and check them, without reading their values.

    Args:
        path: a .npy, a .npz, or a folder of them.
        keys: names that the array may have in a .npz with several.
        what: what it is, for messages: `data` or `labels`.

    Raises:
        InputError: nothing there, a shard missing from a numbered row of names, a file cut off or damaged, or shards
            that do not fit each other.
    """
    if os.path.isdir(path):
        names = sorted((n for n in os.listdir(path) if n.lower().endswith((".npy", ".npz"))), key=_natural)
        if not names:
            raise InputError(f"{path}: the folder has no .npy or .npz files; wanted {what} in shards.")
        _check_numbers(path, names)
        shards = tuple(_read_header(os.path.join(path, name), keys, what) for name in names)
    else:
        shards = (_read_header(path, keys, what),)
    first = shards[0]
    for shard in shards[1:]:
        if (shard.dtype, shard.shape[1:]) != (first.dtype, first.shape[1:]):
            raise InputError(
                f"{shard.label}: found {shard.dtype}{list(shard.shape)}, but {first.label} is "
                f"{first.dtype}{list(first.shape)}; all shards must agree but for the number of rows."
            )
    found = DataSet(path, shards)
    if not found.rows:
        raise InputError(f"{path}: has no rows; wanted at least one.")
    return found


def _natural(name: str) -> list[Any]:
    """A key that sorts shard_10 behind shard_9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def _check_numbers(folder: str, names: Sequence[str]) -> None:
    """Refuse a numbered row of names with a gap: a shard that was not copied."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", name) for name in names]
    found = [(m[1], int(m[2]), m[3], len(m[2])) for m in parts if m]
    if len(found) != len(names) or len({(head, tail) for head, _, tail, _ in found}) != 1:
        return  # names that are no numbered row
    numbers = [number for _, number, _, _ in found]
    missing = sorted(set(range(min(numbers), max(numbers))) - set(numbers))
    if missing:
        head, _, tail, width = found[0]
        shown = ", ".join(f"{head}{n:0{width}d}{tail}" for n in missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise InputError(
            f"{folder}: found {len(names)} shards, {head}{min(numbers):0{width}d}{tail} to "
            f"{head}{max(numbers):0{width}d}{tail}, but not {shown}. Put it there, or rename the others."
        )


@contextlib.contextmanager
def _open(path: str, member: str) -> Iterator[IO[bytes]]:
    if not member:
        with open(path, "rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        yield file


def _read_header(path: str, keys: Sequence[str], what: str) -> Shard:
    try:
        status = os.stat(path)
        with open(path, "rb") as file:
            head = file.read(6)
        member = ""
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            member = _member(path, keys, what)
        elif head != b"\x93NUMPY":
            shown = f"it begins with {head!r}" if head else "it is empty"
            raise InputError(f"{path}: is no .npy and no .npz ({shown}); save the {what} with numpy.save.")
        with _open(path, member) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
            offset = file.tell()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder. Check the path of the {what}.") from None
    except InputError:
        raise
    except Exception as error:
        # A damaged archive raises whatever zipfile, zlib or the header's parser happen to raise.
        raise InputError(f"{path}: cannot be read as a NumPy array: {reason(error)}.") from None
    shard = Shard(path, member, shape, dtype, offset, (status.st_size, status.st_mtime_ns))
    if dtype.kind not in "biuf":
        raise InputError(f"{shard.label}: holds {dtype}, wanted numbers.")
    if not shape:
        raise InputError(f"{shard.label}: holds a single number, wanted an array with rows.")
    if fortran and len(shape) > 1:
        raise InputError(
            f"{shard.label}: is stored column by column (Fortran order), so that rows cannot be read one by one; save "
            "numpy.ascontiguousarray(array)."
        )
    if not member and status.st_size < offset + math.prod(shape) * dtype.itemsize:
        raise InputError(
            f"{shard.label}: is cut off: its header promises {dtype}{list(shape)}, so "
            f"{offset + math.prod(shape) * dtype.itemsize} bytes, and there are {status.st_size}. Copy it again."
        )
    return shard


def _member(path: str, keys: Sequence[str], what: str) -> str:
    """The entry of an archive that holds the array."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
    if len(names) == 1:
        return names[0]
    for key in keys:
        if f"{key}.npy" in names:
            return f"{key}.npy"
    found = ", ".join(name.removesuffix(".npy") for name in names[:8]) or "none"
    raise InputError(
        f"{path}: holds {len(names)} arrays ({found}); wanted one, or one named {' or '.join(map(repr, keys))}, for "
        f"the {what}."
    )
