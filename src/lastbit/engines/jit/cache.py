"""Compiled code on disk: a saving, never a condition. Whatever is wrong with it, code is compiled again.

An entry is machine code, which will be run. So it lies in a folder of the user's own, below the system's folder for
caches, which nobody else can write; else none is kept. An entry begins with a digest of its name and its content: what
is cut, empty or changed is not read any further.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cache", "cache", "say", "system_folder"]

_MAGIC = b"lastbit code 1\n"
_DIGEST_BYTES = 32
_OLD_SECONDS = 3600.0


def say(text: str) -> None:
    """One line on standard error, where there is one."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        print(f"lastbit: {text}", file=sys.stderr, flush=True)


def system_folder() -> Path | None:
    """LastBit's folder below the system's folder for the user's caches; None where the system names none."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = os.path.join(os.path.expanduser("~"), "Library", "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):  # relative ones must be ignored
            base = os.path.join(os.path.expanduser("~"), ".cache")
    # A relative one would lie in the working directory.
    return Path(base) / "lastbit" if os.path.isabs(base) else None


def _others_can_write(folder: Path) -> Path | None:
    """The folder, or one above it, in which another user could put a file of theirs; None where there is none."""
    if not hasattr(os, "geteuid"):
        return None  # Windows: the user's own folders have access lists of their own
    place = folder.resolve()
    for number, above in enumerate((place, *place.parents)):
        found = above.stat()
        trusted = found.st_uid in ((os.geteuid(),) if number == 0 else (os.geteuid(), 0))
        # In a sticky folder (/tmp) everyone can make files, but not rename those of others.
        open_to = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH if number == 0 else stat.S_IWOTH)
        if not trusted or (open_to and not (number and found.st_mode & stat.S_ISVTX)):
            return above
    return None


@dataclass
class Cache:
    """Entries by name in one folder.

    Attributes:
        folder: where they lie; None where nothing is kept.
        problem: why nothing is kept, or the first thing that went wrong; empty so far.
    """

    folder: Path | None
    problem: str = ""
    _tidied: bool = False

    @classmethod
    def at(cls, folder: Path | None) -> Cache:
        """The cache in a folder, which is made where it is missing; one that others can write is not used."""
        if folder is None:
            return cls(None, "the system names no folder for caches")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unsafe = _others_can_write(folder)
        except (OSError, RuntimeError) as error:
            return cls(None, f"{folder}: {_reason(error)}")
        if unsafe is not None:
            return cls(None, f"{folder} is not used: {unsafe} belongs to, or can be written by, another user")
        return cls(folder)

    def load(self, name: str) -> bytes | None:
        """The content of an entry; None where there is none, or it is damaged."""
        if self.folder is None:
            return None
        path = self._path(name)
        try:
            with path.open("rb") as file:
                if hasattr(os, "geteuid") and os.fstat(file.fileno()).st_uid != os.geteuid():
                    return None
                whole = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"{path.name} cannot be read: {_reason(error)}")
            return None
        head = len(_MAGIC) + _DIGEST_BYTES
        if whole[: len(_MAGIC)] != _MAGIC or whole[len(_MAGIC) : head] != _digest(name, whole[head:]):
            self._warn(f"{path.name} is damaged")
            return None
        return whole[head:]

    def save(self, name: str, content: bytes) -> None:
        """Keep an entry: it is there whole or not at all."""
        if self.folder is None:
            return
        path = self._path(name)
        temporary = ""
        try:
            if not self._tidied:
                self._remove_leftovers()
                self._tidied = True
            number, temporary = tempfile.mkstemp(dir=self.folder, suffix=".part")
            with os.fdopen(number, "wb") as file:
                file.write(_MAGIC + _digest(name, content) + content)
            os.replace(temporary, path)
        except OSError as error:
            if temporary:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            self._warn(f"cannot be written: {_reason(error)}")

    def reject(self, name: str, error: Exception) -> None:
        """Say that an entry cannot be used although it is whole."""
        self._warn(f"{self._path(name).name} cannot be loaded: {_reason(error)}")

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.code"

    def _remove_leftovers(self) -> None:
        """Temporary files of processes that were killed while they wrote."""
        assert self.folder is not None
        for left in self.folder.glob("*.part"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _OLD_SECONDS:
                    left.unlink()

    def _warn(self, what: str) -> None:
        """Once for each process, whatever goes wrong."""
        if not self.problem:
            self.problem = f"{self.folder}: {what}"
            say(f"the folder of compiled code, {self.folder}: {what}. Compiled without it.")


def _digest(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + content).digest()


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


@functools.cache
def cache() -> Cache:
    """This process's cache."""
    return Cache.at(system_folder())
