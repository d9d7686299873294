"""Ranges: the least and greatest value of each tensor, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...model.errors import InputError
from ...model.graph import Model
from ...report.input_files import read_json

__all__ = ["Ranges", "read_ranges"]

_SCHEMA = "lastbit.ranges/1"


@dataclass(frozen=True, eq=False)
class Ranges(Mapping[int, tuple[np.float32, np.float32]]):
    """Tensor index -> (least, greatest), float32.

    Attributes:
        limits: the ranges.
        calibrator: what measured them, with its version; for files what the file says.
        names: tensor index -> name, for people and files.
        samples: how many samples were run; 0 where nobody knows.
    """

    limits: Mapping[int, tuple[np.float32, np.float32]]
    calibrator: str
    names: Mapping[int, str]
    samples: int = 0

    def __getitem__(self, index: int) -> tuple[np.float32, np.float32]:
        return self.limits[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self.limits)

    def __len__(self) -> int:
        return len(self.limits)

    def __repr__(self) -> str:
        return f"Ranges({len(self)} tensors, by {self.calibrator}, {self.samples} samples)"

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds them: floats as hexadecimal text, which loses nothing."""
        tensors = [
            {"tensor": index, "name": self.names.get(index, ""), "min": float(low).hex(), "max": float(high).hex()}
            for index, (low, high) in sorted(self.limits.items())
        ]
        return {"schema": _SCHEMA, "calibrator": self.calibrator, "samples": self.samples, "tensors": tensors}


def read_ranges(path: str, model: Model) -> Ranges:
    """Ranges from a .json file: as `as_dict` gives them, or {"name or index": [min, max], ...}.

    Raises:
        InputError: the file cannot be read, names no tensor of the model, or has a range that is not a range.
    """
    content = read_json(path, 'a .json file {"tensor name or index": [min, max], ...} or one of --ranges-out')
    if isinstance(content, dict) and content.get("schema") == _SCHEMA and isinstance(content.get("tensors"), list):
        pairs = [(str(entry.get("tensor")), (entry.get("min"), entry.get("max"))) for entry in content["tensors"]]
        calibrator = f"{content.get('calibrator', 'unknown')} (from {path})"
        return ranges_from(dict(pairs), model, path, calibrator, int(content.get("samples", 0)))
    if isinstance(content, dict):
        return ranges_from(content, model, path, f"the file {path}")
    raise InputError(f'{path}: wanted {{"tensor name or index": [min, max], ...}}, found a {type(content).__name__}.')


def ranges_from(
    limits: Mapping[Any, Any], model: Model, where: str, calibrator: str = "given", samples: int = 0
) -> Ranges:
    """Ranges by a tensor's name or index.

    Raises:
        InputError: a key is no tensor's, or a range is none.
    """
    by_name: dict[str, list[int]] = {}
    for tensor in model.tensors:
        by_name.setdefault(tensor.name, []).append(tensor.index)
    found: dict[int, tuple[np.float32, np.float32]] = {}
    for key, pair in limits.items():
        matches = by_name.get(str(key), [])
        if not matches and str(key).isdigit() and int(key) < len(model.tensors):
            matches = [int(key)]
        if len(matches) != 1:
            what = "no tensor" if not matches else f"{len(matches)} tensors, so use the index"
            raise InputError(f"{where}: {key!r} names {what} of {model.source}; `lastbit inspect` lists them.")
        found[matches[0]] = _pair(pair, key, where)
    return Ranges(found, calibrator, {t.index: t.name for t in model.tensors}, samples)


def _pair(pair: Any, key: object, where: str) -> tuple[np.float32, np.float32]:
    try:
        low, high = (float.fromhex(end) if isinstance(end, str) else float(end) for end in pair)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: the range of {key!r} is {pair!r}, wanted [min, max].") from None
    with np.errstate(over="ignore"):
        ends = np.float32(low), np.float32(high)
    if not (np.isfinite(ends[0]) and np.isfinite(ends[1])) or ends[0] > ends[1]:
        raise InputError(f"{where}: the range of {key!r} is {low} to {high}, wanted two finite numbers in order.")
    return ends
