"""Data sets of any size, read in pieces: an array, a .npy, a .npz, a folder of them (shards, ordered by name), or text.

Memory stays constant: no file is loaded whole, except one of text. What is wrong with a file's beginning or its size
is found before anything is computed.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np

from ...model.errors import InputError
from ...model.npy import HEAD_BYTES, MAGIC, how_to_save, read_header
from ...model.types import Array
from ...report.input_files import DAMAGED
from ...report.output_files import ABOUT, reason
from .shard_names import check_numbers, natural
from .text_data import TEXT_ENDINGS, read_text

__all__ = ["ArrayShard", "DataSet", "Shard", "open_data"]

# What a digest reads of a file: all of a small one, else this many blocks, evenly spread.
_BLOCKS, _BLOCK_BYTES, _BLOCKS_IN_ALL = 64, 4096, 4096
_READ_BYTES = 8 << 20


@dataclass(frozen=True, eq=False)
class ArrayShard:
    """An array that was given as it is.

    Attributes:
        label: how messages name it.
        values: the array; the first dimension counts the rows.
        text: whether it was read from text, which has no types of numbers.
    """

    label: str
    values: Array
    text: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""
        return self.values.dtype

    @property
    def rows(self) -> int:
        """Rows of the array."""
        return self.shape[0]

    def chunks(self, begin: int, size: Callable[[], int]) -> Iterator[Array]:
        """See `Shard.chunks`."""
        while begin < self.rows:
            count = size()
            values = self.values[begin : begin + count]
            yield values.astype(self.dtype.newbyteorder("="), copy=False)
            begin += count

    def one_row(self) -> ArrayShard:
        """The whole array as one row."""
        return replace(self, values=self.values[None])

    def identity(self, blocks: int) -> list[Any]:
        """Rows, type and a digest of the values."""
        return [self.rows, self.dtype.str, hashlib.sha256(np.ascontiguousarray(self.values).data).hexdigest()]


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

    def one_row(self) -> Shard:
        """The whole array as one row."""
        return replace(self, shape=(1, *self.shape))

    def identity(self, blocks: int) -> list[Any]:
        """Name, rows, size and time of the file, and a digest of at most so many blocks of it."""
        return [os.path.basename(self.path), self.member, self.rows, *self.stamp, _sampled_digest(self.path, blocks)]

    def chunks(self, begin: int, size: Callable[[], int]) -> Iterator[Array]:
        """Arrays from row `begin` on, in native byte order.

        Args:
            begin: the first row.
            size: asked before each array for the rows that it may have at most.

        Raises:
            InputError: the file ends too early, or is damaged.
        """
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        try:
            with _open(self.path, self.member) as file:
                file.seek(self.offset + begin * row_bytes)
                start, count = begin, 0
                while (start := start + count) < self.rows:
                    count = min(size(), self.rows - start)
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
        shards: at least one; all of one type, and of one shape except for the rows.
    """

    path: str
    shards: tuple[Shard | ArrayShard, ...]

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

    def with_batch(self, shape: Sequence[int]) -> DataSet:
        """The same set; where it is one array of the shape of one row, as one row."""
        only = self.shards[0]
        return DataSet(self.path, (only.one_row(),)) if len(self.shards) == 1 and only.shape == tuple(shape) else self

    def of_type(self, dtype: np.dtype[Any]) -> DataSet:
        """The same set; numbers from text in this type, where that keeps them all."""
        only = self.shards[0]
        if not isinstance(only, ArrayShard) or not only.text or only.dtype.kind == "f":
            return self
        values = only.values.astype(dtype)
        return DataSet(self.path, (replace(only, values=values),)) if np.array_equal(values, only.values) else self

    def identity(self) -> list[list[Any]]:
        """What must be unchanged for going on with a partial result; the digests read a part of large files.

        Raises:
            InputError: a file cannot be read.
        """
        blocks = min(_BLOCKS, max(_BLOCKS_IN_ALL // len(self.shards), 4))
        return [shard.identity(blocks) for shard in self.shards]

    def chunks(self, begin: int, size: Callable[[], int]) -> Iterator[Array]:
        """Arrays from row `begin` on, each of at most the rows that `size` tells; no array spans two shards."""
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
        at_once = max(_READ_BYTES // max(math.prod(self.sample) * self.dtype.itemsize, 1), 1)
        source = self.chunks(begin, lambda: at_once)
        for size in sizes:
            while held < size:
                waiting.append(next(source))
                held += len(waiting[-1])
            joined = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            yield joined[:size]
            waiting, held = [joined[size:]], held - size


def _sampled_digest(path: str, blocks: int) -> str:
    """A digest of a file's bytes: of all where they are few, else of blocks, evenly spread, with both ends."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= blocks * _BLOCK_BYTES:
                digest.update(file.read())
            else:
                for number in range(blocks):
                    file.seek((size - _BLOCK_BYTES) * number // (blocks - 1))
                    digest.update(file.read(_BLOCK_BYTES))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}.") from None
    return digest.hexdigest()


def open_data(source: Any, keys: Sequence[str], what: str) -> DataSet:
    """Find the arrays of a data set and check them, without reading their values.

    Args:
        source: an array, or the path of a .npy, a .npz, a folder of them, or of text: see `read_text`.
        keys: names that the array may have in a .npz with several.
        what: what it is, for messages: `data` or `labels`.

    Raises:
        InputError: nothing there, a shard missing from a numbered row of names, a file cut off or damaged, or shards
            that do not fit each other.
    """
    if not isinstance(source, str | os.PathLike):
        return _given(source, what)
    path = os.fspath(source)
    if os.path.splitext(path)[1].lower() in TEXT_ENDINGS and not os.path.isdir(path):
        return DataSet(path, (_checked(ArrayShard(path, read_text(path, keys, what), text=True), what),))
    shards: tuple[Shard, ...]
    if os.path.isdir(path):
        names = sorted((n for n in os.listdir(path) if n.lower().endswith((".npy", ".npz"))), key=natural)
        if not names:
            raise InputError(f"{path}: the folder has no .npy or .npz files; wanted {what} in shards.")
        check_numbers(path, names)
        shards = tuple(_read_header(os.path.join(path, name), keys, what) for name in names)
    else:
        shards = (_read_header(path, keys, what),)
    first = shards[0]
    for shard in shards[1:]:
        if (shard.dtype, shard.shape[1:]) != (first.dtype, first.shape[1:]):
            raise InputError(
                f"{shard.label}: found {shard.dtype}{list(shard.shape)}, but {first.label} is "
                f"{first.dtype}{list(first.shape)}; all shards must agree, except in the number of rows."
            )
    found = DataSet(path, shards)
    if not found.rows:
        raise InputError(f"{path}: has no rows; wanted at least one.")
    return found


def _given(source: Any, what: str) -> DataSet:
    """An array that the caller has."""
    try:
        values = np.asarray(source)
    except ValueError as error:  # lists of unequal lengths
        raise InputError(f"{what}: is not an array of numbers: {reason(error)}.") from None
    return DataSet(what, (_checked(ArrayShard(what, values), what),))


def _checked(shard: ArrayShard, what: str) -> ArrayShard:
    _check_type(shard)
    if not shard.values.size:
        raise InputError(f"{what}: has no rows; wanted at least one.")
    return shard


def _check_type(shard: Shard | ArrayShard) -> None:
    if shard.dtype.kind not in "biuf":
        raise InputError(f"{shard.label}: holds {shard.dtype}, wanted numbers.")
    if not shard.shape:
        raise InputError(f"{shard.label}: holds a single number, wanted an array with rows.")


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
            head = file.read(HEAD_BYTES)
        member = ""
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            member = _member(path, keys, what)
        elif not head.startswith(MAGIC):
            shown = f"it begins with {head[:8]!r}" if head else "it is empty"
            advice = how_to_save(head) or f"Save the {what} with numpy.save."
            raise InputError(f"{path}: is neither .npy nor .npz ({shown}). {advice}")
        with _open(path, member) as file:
            shape, fortran, dtype = read_header(file, path)
            offset = file.tell()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder. Check the path of the {what}.") from None
    except InputError:
        raise
    except Exception as error:
        # A damaged archive raises whatever zipfile, zlib or the header's parser happen to raise.
        raise InputError(f"{path}: cannot be read as a NumPy array: {reason(error)}. {DAMAGED}") from None
    shard = Shard(path, member, shape, dtype, offset, (status.st_size, status.st_mtime_ns))
    _check_type(shard)
    if fortran and len(shape) > 1:
        raise InputError(
            f"{shard.label}: is stored column by column (Fortran order), so that rows cannot be read one by one; save "
            "numpy.ascontiguousarray(array)."
        )
    promised = offset + math.prod(shape) * dtype.itemsize
    there = _member_bytes(path, member) if member else status.st_size
    if there < promised:
        raise InputError(
            f"{shard.label}: is cut off: its header promises {dtype}{list(shape)}, so {promised} bytes, and there are "
            f"{there}. Copy it again."
        )
    return shard


def _member_bytes(path: str, member: str) -> int:
    """Bytes of an entry of an archive, as its list of contents tells."""
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo(member).file_size


def _member(path: str, keys: Sequence[str], what: str) -> str:
    """The entry of an archive that holds the array."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy") and name != f"{ABOUT}.npy"]
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
