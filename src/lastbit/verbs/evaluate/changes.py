"""Where the results of two runtimes part on a data set: which rows, and at which operator it begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engines import reference
from ...model.types import Array
from ...ops.prepare import PreparedModel
from ...report.json_text import number
from .metrics import whole

__all__ = ["Changes"]

# Rows named in the report, and rows followed through the network.
_NAMED, _FOLLOWED, _FOLLOWED_AT_ONCE = 20, 64, 16


class Changes:
    """What one runtime does otherwise than the first one.

    Attributes:
        state: plain data, to be written to a file and taken up again.
    """

    def __init__(self, first: PreparedModel, other: PreparedModel, state: dict[str, Any] | None = None) -> None:
        self._pair = (first, other)
        self.state = state or {
            "rows": 0,
            "elements": 0,
            "classes": 0,
            "largest": 0.0,
            "examples": [],
            "followed": 0,
            "begins": {},
        }

    def add(self, start: int, x: Array, ours: Array, theirs: Array, classes: bool) -> None:
        """Take a chunk.

        Args:
            start: its first row in the data set.
            x: the inputs.
            ours: the first runtime's outputs, `[rows, elements]`.
            theirs: the other's.
            classes: whether the largest output is a class.
        """
        different = ours != theirs
        if different.dtype.kind == "b" and ours.dtype.kind == "f":
            different &= ~(np.isnan(ours) & np.isnan(theirs))
        rows = np.flatnonzero(different.any(axis=1))
        if not rows.size:
            return
        s = self.state
        s["rows"] += len(rows)
        s["elements"] += int(different.sum())
        with np.errstate(invalid="ignore"):  # infinities, whose difference is NaN and counts as none
            gap = np.abs(ours[rows].astype(np.float64) - theirs[rows].astype(np.float64))
        s["largest"] = max(s["largest"], float(np.nanmax(gap, initial=0.0)))
        before, after = ours[rows].argmax(axis=1), theirs[rows].argmax(axis=1)
        turned = before != after
        if classes:
            s["classes"] += int(turned.sum())
        for row, a, b in zip(rows[: _NAMED - len(s["examples"])], before, after, strict=False):
            entry: dict[str, Any] = {"row": start + int(row), "elements": int(different[row].sum())}
            if classes:
                entry["classes"] = [int(a), int(b)]
            s["examples"].append(entry)
        left = min(_FOLLOWED - s["followed"], _FOLLOWED_AT_ONCE)
        if left > 0:
            self._follow(x[rows[:left]])

    def restore(self, found: dict[str, Any], rows: int) -> None:
        """Take up a state that was read from a file, of so many rows.

        Raises:
            ValueError, KeyError or TypeError: it is none.
        """
        operators = self._pair[0].operators
        counts = {key: whole(found[key], rows) for key in ("rows", "classes", "followed")}
        begins = {str(int(key)): whole(count, rows) for key, count in found["begins"].items()}
        examples = [_example(entry, rows) for entry in found["examples"]]
        if not {int(key) for key in begins} <= set(operators) or len(examples) > min(_NAMED, counts["rows"]):
            raise ValueError("what began where no operator is")
        self.state = {
            **counts,
            "elements": whole(found["elements"]),
            "largest": number(found["largest"]),
            "examples": examples,
            "begins": begins,
        }

    def _follow(self, x: Array) -> None:
        """Run a few rows step by step in both runtimes; count the operator at which each row's values part."""
        traces = [reference.run(prepared, [x]) for prepared in self._pair]
        parted = np.zeros(len(x), bool)
        begins = self.state["begins"]
        for index in self._pair[0].operators:
            a, b = (trace.operators[index].steps["output"] for trace in traces)
            if a.size % len(x):
                continue
            now = (a.reshape(len(x), -1) != b.reshape(len(x), -1)).any(axis=1) & ~parted
            if now.any():
                begins[str(index)] = begins.get(str(index), 0) + int(now.sum())
            parted |= now
        self.state["followed"] += len(x)


def _example(found: dict[str, Any], rows: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"row": whole(found["row"], rows), "elements": whole(found["elements"])}
    if "classes" in found:
        before, after = found["classes"]
        entry["classes"] = [whole(before), whole(after)]
    return entry
