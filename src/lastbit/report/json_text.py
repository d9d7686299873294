"""JSON text that every parser reads, the same for all reports and files.

JSON has no infinities and no NaN. Here they are the strings "Infinity", "-Infinity" and "NaN".
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

__all__ = ["json_text", "number"]


def json_text(data: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Data as strict JSON text; numbers that are not finite are strings.

    Args:
        data: dictionaries, lists, tuples, texts, numbers (NumPy's too), arrays, True, False and None.
        indent: spaces for each level; None for one line.
        sort_keys: whether dictionaries are written in the order of their keys.

    Raises:
        TypeError: something else is in it.

    >>> json_text({"largest": float("inf"), "first": np.float32("nan"), "at": np.int64(3)})
    '{"largest": "Infinity", "first": "NaN", "at": 3}'
    """
    try:
        return json.dumps(data, indent=indent, sort_keys=sort_keys, allow_nan=False, default=_from_numpy)
    except ValueError:
        return json.dumps(_finite(data), indent=indent, sort_keys=sort_keys, allow_nan=False)


def number(value: object) -> float:
    """A number as `json_text` wrote it, also one that is not finite.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not (isinstance(value, int | float) or value in _NOT_FINITE):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def _from_numpy(value: object) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _finite(value: Any) -> Any:
    """The same data with texts for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if value is None or isinstance(value, bool | int | str) else _finite(_from_numpy(value))
