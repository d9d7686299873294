"""How to install what is optional."""

from __future__ import annotations

import re
from importlib import metadata

__all__ = ["install_text"]


def install_text(*extras: str) -> str:
    """The command that installs what an optional dependency of LastBit needs, from a clone or without one.

    There is no package index that has LastBit itself, so `lastbit[litert]` would not be found.

    Args:
        extras: names of `[project.optional-dependencies]`.

    >>> install_text("litert").startswith('pip install "')
    True
    """
    try:
        stated = metadata.requires("lastbit") or []
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        stated = []
    wanted = [re.compile(rf"extra\s*==\s*['\"]{extra}['\"]") for extra in extras]
    found = dict.fromkeys(
        text.partition(";")[0].strip() for text in stated if any(pattern.search(text) for pattern in wanted)
    )
    # Double quotes: shells of Windows keep single ones as part of the name.
    return "pip install " + " ".join(f'"{text}"' for text in found or [f".[{','.join(extras)}]"])
