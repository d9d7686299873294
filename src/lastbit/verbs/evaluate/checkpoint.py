"""The report file of an evaluation: a report for people's programs, and with it what a later run goes on from.

What is read back is not trusted: a digest over the whole content finds damage, and each part is checked.
"""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from typing import Any

from ...model.errors import InputError
from ...report.json_text import json_text
from ...report.output_files import reason, write_bytes
from .report import SCHEMA

__all__ = ["read_checkpoint", "write_checkpoint"]

_SCHEMA = "lastbit.evaluate_checkpoint/1"
_MOST_BYTES = 256 << 20
_ADVICE = "Name another file, or begin anew with --restart."


def write_checkpoint(path: str, report: dict[str, Any], identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Write a report file, whole or not at all.

    Args:
        path: the file.
        report: the report as plain data.
        identity: what must be the same where a later run goes on.
        state: what that run needs.

    Raises:
        InputError: it cannot be written.
    """
    checkpoint = {"schema": _SCHEMA, "lastbit": _version(), "identity": identity, "state": state}
    content = {**report, "checkpoint": checkpoint}
    checkpoint["sha256"] = _digest(content)
    write_bytes(path, json_text(content, indent=1).encode())


def read_checkpoint(path: str, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The state of a report file; None where the file does not exist.

    Args:
        path: the file.
        identity: what must be the same.

    Raises:
        InputError: it cannot be read, is no such file, is damaged, or is of another evaluation or version.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}.") from None
    try:
        read = json.loads(text) if len(text) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        read = None
    content: dict[str, Any] = read if isinstance(read, dict) else {}
    ours = content.get("schema") == SCHEMA
    checkpoint = content.get("checkpoint") if ours else None
    if not isinstance(checkpoint, dict):
        what = "is a damaged report" if ours or b'"' + SCHEMA.encode() in text[:200] else "exists and is not a report"
        raise InputError(f"{path}: {what} of lastbit evaluate. {_ADVICE}")
    if checkpoint.get("schema") != _SCHEMA or checkpoint.get("lastbit") != _version():
        raise InputError(
            f"{path}: was written by LastBit {checkpoint.get('lastbit')} ({checkpoint.get('schema')}); this is "
            f"{_version()} ({_SCHEMA}), which may count in another way. {_ADVICE}"
        )
    if checkpoint.pop("sha256", None) != _digest(content):
        raise InputError(f"{path}: is damaged: its digest is not that of what it holds. {_ADVICE}")
    if changed := _differences(checkpoint.get("identity"), json.loads(json_text(identity))):
        raise InputError(f"{path}: holds the result of another evaluation (another {', '.join(changed)}). {_ADVICE}")
    state = checkpoint.get("state")
    return state if isinstance(state, dict) else {}


def _differences(found: object, wanted: dict[str, Any]) -> list[str]:
    """The entries that are not the same."""
    if not isinstance(found, dict):
        return list(wanted)
    return [key.replace("_", " ") for key, value in wanted.items() if found.get(key) != value]


def _digest(content: dict[str, Any]) -> str:
    """Of everything in it, however it is laid out. Floats are written so that they are read back the same."""
    return hashlib.sha256(json_text(content, sort_keys=True).encode()).hexdigest()


def _version() -> str:
    try:
        return metadata.version("lastbit")
    except metadata.PackageNotFoundError:
        return "(not installed)"
