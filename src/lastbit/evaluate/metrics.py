"""What is counted while a data set goes by: sums that can be written to a file and taken up again.

Every measure adds up chunk after chunk and keeps nothing of single rows, so that memory stays constant.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..model import Tensor
from ..types import Array

__all__ = ["MOST_CLASSES", "Anomaly", "Classes", "Measure", "TargetError", "real_values"]

MOST_CLASSES = 1000
Float64Array = npt.NDArray[np.float64]


def real_values(tensor: Tensor, values: Array) -> Float64Array:
    """Values of a tensor in real units: scale * (quantized - zero_point), float64, which is exact."""
    wide = values.astype(np.float64)
    if tensor.quant is None or values.dtype.kind == "f":
        return wide
    return (wide - float(tensor.quant.zero_point[0])) * float(tensor.quant.scale[0])


class Measure:
    """One measure of one runtime's outputs; `state` is plain data."""

    name = ""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def add(self, x: Float64Array, y: Float64Array, labels: Array | None) -> None:
        """Take a chunk: inputs and outputs in real units `[rows, elements]`, and the rows' labels."""
        raise NotImplementedError

    def summary(self) -> dict[str, Any]:
        """What the report says."""
        raise NotImplementedError


class Classes(Measure):
    """The largest output is the class: accuracy and confusion with labels, else how often each class came."""

    name = "classes"

    @classmethod
    def new(cls, classes: int, labelled: bool) -> Classes:
        """With nothing counted."""
        rows = classes if labelled else 1
        return cls({"labelled": labelled, "counts": [[0] * classes for _ in range(rows)]})

    def add(self, x: Float64Array, y: Float64Array, labels: Array | None) -> None:
        """See `Measure.add`. A tie goes to the first class, as numpy.argmax takes it."""
        counts = np.asarray(self.state["counts"], np.int64)
        truth = labels.astype(np.int64) if labels is not None else np.zeros(len(y), np.int64)
        np.add.at(counts, (truth, y.argmax(axis=1)), 1)
        self.state["counts"] = counts.tolist()

    def summary(self) -> dict[str, Any]:
        """See `Measure.summary`. `confusion[label][predicted]`."""
        counts = np.asarray(self.state["counts"], np.int64)
        if not self.state["labelled"]:
            return {"predicted": counts[0].tolist()}
        total, right = int(counts.sum()), int(np.trace(counts))
        return {"correct": right, "accuracy": right / total if total else None, "confusion": counts.tolist()}


class TargetError(Measure):
    """Differences to wanted outputs, in real units."""

    name = "error"

    @classmethod
    def new(cls) -> TargetError:
        """With nothing counted."""
        return cls({"elements": 0, "absolute": 0.0, "squared": 0.0, "largest": 0.0})

    def add(self, x: Float64Array, y: Float64Array, labels: Array | None) -> None:
        """See `Measure.add`."""
        assert labels is not None
        off = np.abs(y - labels.reshape(y.shape).astype(np.float64))
        s = self.state
        s["elements"] += off.size
        s["absolute"] += float(off.sum())
        s["squared"] += float((off * off).sum())
        s["largest"] = max(s["largest"], float(off.max(initial=0.0)))

    def summary(self) -> dict[str, Any]:
        """See `Measure.summary`."""
        s, n = self.state, max(self.state["elements"], 1)
        return {
            "mean_absolute_error": s["absolute"] / n,
            "root_mean_squared_error": float(np.sqrt(s["squared"] / n)),
            "largest_error": s["largest"],
        }


class Anomaly(Measure):
    """The anomaly score of an autoencoder: the mean squared difference of output and input, in real units."""

    name = "anomaly"

    @classmethod
    def new(cls) -> Anomaly:
        """With nothing counted."""
        return cls({"rows": 0, "sum": 0.0, "smallest": None, "largest": None, "by_label": {}})

    def add(self, x: Float64Array, y: Float64Array, labels: Array | None) -> None:
        """See `Measure.add`."""
        scores = ((x - y) ** 2).mean(axis=1)
        s = self.state
        s["rows"] += len(scores)
        s["sum"] += float(scores.sum())
        s["smallest"] = min(float(scores.min()), s["smallest"] if s["smallest"] is not None else np.inf)
        s["largest"] = max(float(scores.max()), s["largest"] if s["largest"] is not None else -np.inf)
        for label in () if labels is None else np.unique(labels):
            chosen = scores[labels == label]
            count, total = s["by_label"].get(str(int(label)), (0, 0.0))
            s["by_label"][str(int(label))] = [count + len(chosen), total + float(chosen.sum())]

    def summary(self) -> dict[str, Any]:
        """See `Measure.summary`."""
        s = self.state
        found = {"mean": s["sum"] / max(s["rows"], 1), "smallest": s["smallest"], "largest": s["largest"]}
        if s["by_label"]:
            found["mean_by_label"] = {label: total / count for label, (count, total) in sorted(s["by_label"].items())}
        return found
