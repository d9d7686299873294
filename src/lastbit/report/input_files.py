"""Files that are read whole: what is wrong with them, in words, and what to do."""

from __future__ import annotations

import json
import os
from typing import Any

from ..model.errors import InputError
from .output_files import reason

__all__ = ["DAMAGED", "read_file", "read_json"]

DAMAGED = "The file is damaged or not whole: copy it again, or save it again."
"""What to do about an archive that cannot be read."""


def read_file(path: str | os.PathLike[str], wanted: str) -> bytes:
    """The bytes of a file.

    Args:
        path: the file.
        wanted: what it should be, for messages.

    Raises:
        InputError: there is no such file, it is a folder, or it cannot be read.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{name}: no such file. Check the path; {wanted} is wanted.") from None
    except IsADirectoryError:
        raise InputError(f"{name}: is a folder; {wanted} is wanted. Name a file in it.") from None
    except (OSError, ValueError) as error:  # a path with a zero character is a ValueError; Windows opens no folder
        what = "is a folder" if os.path.isdir(name) else f"cannot be read: {reason(error)}"
        raise InputError(f"{name}: {what}; {wanted} is wanted.") from None


def read_json(path: str | os.PathLike[str], wanted: str) -> Any:
    """What a .json file holds.

    Args:
        path: the file.
        wanted: what it should be, for messages.

    Raises:
        InputError: it cannot be read, or is no JSON.
    """
    content = read_file(path, wanted)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{os.fspath(path)}: is not JSON ({reason(error)}); {wanted} is wanted.") from None
