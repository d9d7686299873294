"""What is counted while a data set goes by: sums that can be written to a file and taken up again.

Every measure adds up chunk after chunk and keeps nothing of single rows, so that memory stays constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...model.graph import Tensor
from ...model.types import Array, Float64Array
from ...report.json_text import number
from .class_scores import class_scores

__all__ = ["MOST_CLASSES", "Anomaly", "Classes", "Measure", "TargetError", "Values", "real_values", "whole"]

MOST_CLASSES = 65_536
# Above, the confusion is a list of the pairs that came.
_MOST_IN_MATRIX = 100


def real_values(tensor: Tensor, values: Array) -> Float64Array:
    """Values of a tensor in real units: scale * (quantized - zero_point), float64, which is exact."""
    wide = values.astype(np.float64)
    if tensor.quant is None or values.dtype.kind == "f":
        return wide
    return (wide - float(tensor.quant.zero_point[0])) * float(tensor.quant.scale[0])


def whole(value: object, most: int | None = None) -> int:
    """A count that was read from a file.

    Raises:
        ValueError: it is no whole number from 0 to `most`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0 or (most is not None and value > most):
        raise ValueError(f"{value!r} is not a count up to {most}")
    return value


class Measure:
    """One measure of one runtime's outputs."""

    name = ""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def saved(self) -> dict[str, Any]:
        """What `restore` takes up, as plain data."""
        return self.state

    def add(self, x: Float64Array, y: Float64Array, labels: Array | None) -> None:
        """Take a chunk: inputs and outputs in real units `[rows, elements]`, and the rows' labels."""
        raise NotImplementedError

    def of_rows(self, x: Float64Array, y: Float64Array, labels: Array | None) -> dict[str, Array]:
        """What is known of each row of a chunk, `[rows]` for each name; takes what `add` takes."""
        raise NotImplementedError

    def restore(self, found: dict[str, Any], rows: int) -> None:
        """Take up a state that was read from a file.

        Args:
            found: the state.
            rows: the rows that it must have counted.

        Raises:
            ValueError, KeyError or TypeError: it is none of this measure.
        """
        raise NotImplementedError

    def summary(self) -> dict[str, Any]:
        """What the report says."""
        raise NotImplementedError


class Classes(Measure):
    """The largest output is the class: accuracy and confusion with labels, else how often each class came.

    Args:
        classes: how many there are.
        labelled: whether each row has a label.
        tops: for each K, how many labels are among the K largest outputs is counted.
        positions: classes of each row: of an output `[1, 16, 32]` the 16 largest of 32.
    """

    name = "classes"

    def __init__(self, classes: int, labelled: bool, tops: Sequence[int] = (), positions: int = 1) -> None:
        super().__init__({})
        self._classes, self._labelled, self._positions = classes, labelled, positions
        self._counts: dict[int, int] = {}
        self._tops = dict.fromkeys(tops if labelled else (), 0)

    def add(self, x: Float64Array, y: Float64Array, labels: Array | None) -> None:
        """See `Measure.add`. A tie goes to the first class, as numpy.argmax takes it."""
        y = y.reshape(-1, self._classes)
        truth = labels.astype(np.int64) if labels is not None and self._labelled else np.zeros(len(y), np.int64)
        codes, counts = np.unique(truth * self._classes + y.argmax(axis=1), return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            self._counts[code] = self._counts.get(code, 0) + count
        if self._tops:
            ranks = _ranks(y, truth)
            for top in self._tops:
                self._tops[top] += int((ranks < top).sum())

    def of_rows(self, x: Float64Array, y: Float64Array, labels: Array | None) -> dict[str, Array]:
        """See `Measure.of_rows`: the class and its output; with several positions in a row how many are right."""
        y = y.reshape(-1, self._classes)
        predicted = y.argmax(axis=1)
        right = {} if labels is None else {"right": (predicted == labels.astype(np.int64)).astype(np.int64)}
        if self._positions > 1:
            return {name: values.reshape(-1, self._positions).sum(axis=1) for name, values in right.items()}
        return {"class": predicted, "output": y.max(axis=1), **right}

    def saved(self) -> dict[str, Any]:
        """See `Measure.saved`."""
        return {"pairs": self._pairs(), "top": [[top, count] for top, count in self._tops.items()]}

    def restore(self, found: dict[str, Any], rows: int) -> None:
        """See `Measure.restore`."""
        most, labels = self._classes - 1, rows * self._positions
        counts = {}
        for label, predicted, count in found["pairs"]:
            code = whole(label, most if self._labelled else 0) * self._classes + whole(predicted, most)
            counts[code] = whole(count, labels)
        tops = {whole(top): whole(count, labels) for top, count in found["top"]}
        if sum(counts.values()) != labels or tops.keys() != self._tops.keys():
            raise ValueError("the classes of other rows")
        self._counts, self._tops = counts, tops

    def _pairs(self) -> list[list[int]]:
        """Label, class and rows, where there are any."""
        return [[*divmod(code, self._classes), count] for code, count in sorted(self._counts.items())]

    def summary(self) -> dict[str, Any]:
        """See `Measure.summary`. `confusion[label][predicted]`; of many classes `confusion_pairs`."""
        pairs = self._pairs()
        if not self._labelled:
            predicted = [0] * self._classes
            for _, found, count in pairs:
                predicted[found] = count
            return {"predicted": predicted}
        total = sum(count for *_, count in pairs)
        right = sum(count for label, found, count in pairs if label == found)
        told: dict[str, Any] = {
            "correct": right,
            "accuracy": right / total if total else None,
            "top": [{"k": top, "share": count / total if total else None} for top, count in self._tops.items()],
            **class_scores((label, found, count) for label, found, count in pairs),
        }
        if self._classes > _MOST_IN_MATRIX:
            return {**told, "confusion_pairs": pairs}
        matrix = np.zeros((self._classes, self._classes), np.int64)
        for label, found, count in pairs:
            matrix[label, found] = count
        return {**told, "confusion": matrix.tolist()}


def _ranks(y: Float64Array, truth: Array) -> Array:
    """How many outputs of each row come before that of its label: the larger ones, and equal ones before it."""
    own = np.take_along_axis(y, truth[:, None], axis=1)
    before = np.arange(y.shape[1]) < truth[:, None]
    ranks: Array = ((y > own) | ((y == own) & before)).sum(axis=1)
    return ranks


class TargetError(Measure):
    """Differences to wanted outputs, in real units."""

    name = "error"

    def __init__(self) -> None:
        super().__init__({"elements": 0, "absolute": 0.0, "squared": 0.0, "largest": 0.0})

    def add(self, x: Float64Array, y: Float64Array, labels: Array | None) -> None:
        """See `Measure.add`."""
        assert labels is not None
        off = np.abs(y - labels.reshape(y.shape).astype(np.float64))
        s = self.state
        s["elements"] += off.size
        with np.errstate(over="ignore"):  # of wanted outputs near the end of float64: infinite
            s["absolute"] += float(off.sum())
            s["squared"] += float((off * off).sum())
        s["largest"] = float(np.maximum(s["largest"], off.max(initial=0.0)))

    def of_rows(self, x: Float64Array, y: Float64Array, labels: Array | None) -> dict[str, Array]:
        """See `Measure.of_rows`."""
        assert labels is not None
        off = np.abs(y - labels.reshape(y.shape).astype(np.float64))
        return {"mean_absolute_error": off.mean(axis=1), "largest_error": off.max(axis=1)}

    def restore(self, found: dict[str, Any], rows: int) -> None:
        """See `Measure.restore`."""
        sums = {key: number(found[key]) for key in ("absolute", "squared", "largest")}
        if whole(found["elements"]) % rows if rows else found["elements"]:
            raise ValueError("the elements of other rows")
        self.state = {"elements": found["elements"], **sums}

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

    def __init__(self) -> None:
        super().__init__({"rows": 0, "sum": 0.0, "smallest": None, "largest": None, "by_label": {}})

    def add(self, x: Float64Array, y: Float64Array, labels: Array | None) -> None:
        """See `Measure.add`."""
        scores = ((x - y) ** 2).mean(axis=1)
        s = self.state
        s["rows"] += len(scores)
        s["sum"] += float(scores.sum())
        s["smallest"], s["largest"] = _range(s, scores)
        for label in () if labels is None else np.unique(labels):
            chosen = scores[labels == label]
            count, total = s["by_label"].get(str(int(label)), (0, 0.0))
            s["by_label"][str(int(label))] = [count + len(chosen), total + float(chosen.sum())]

    def of_rows(self, x: Float64Array, y: Float64Array, labels: Array | None) -> dict[str, Array]:
        """See `Measure.of_rows`."""
        return {"score": ((x - y) ** 2).mean(axis=1)}

    def restore(self, found: dict[str, Any], rows: int) -> None:
        """See `Measure.restore`."""
        groups = {
            str(int(label)): [whole(count, rows), number(total)] for label, (count, total) in found["by_label"].items()
        }
        if whole(found["rows"]) != rows or (groups and sum(count for count, _ in groups.values()) != rows):
            raise ValueError("the scores of other rows")
        self.state = {"rows": rows, "sum": number(found["sum"]), **_restored_range(found, rows), "by_label": groups}

    def summary(self) -> dict[str, Any]:
        """See `Measure.summary`."""
        s = self.state
        found = {"mean": s["sum"] / max(s["rows"], 1), "smallest": s["smallest"], "largest": s["largest"]}
        if s["by_label"]:
            found["mean_by_label"] = {label: total / count for label, (count, total) in sorted(s["by_label"].items())}
        return found


class Values(Measure):
    """What the outputs are, where they are no classes: their mean, spread and range, in real units."""

    name = "outputs"

    def __init__(self) -> None:
        super().__init__({"elements": 0, "mean": 0.0, "squares": 0.0, "smallest": None, "largest": None})

    def add(self, x: Float64Array, y: Float64Array, labels: Array | None) -> None:
        """See `Measure.add`. Mean and squares of the chunk are joined to those before, which loses little."""
        s, n = self.state, y.size
        if not n:
            return
        with np.errstate(invalid="ignore", over="ignore"):  # float models print infinities
            mean = float(y.mean())
            squares = float(((y - mean) ** 2).sum())
            total = s["elements"] + n
            step = mean - s["mean"]
            s["squares"] += squares + step * step * s["elements"] * n / total
            s["mean"] += step * n / total
        s["elements"] = total
        s["smallest"], s["largest"] = _range(s, y)

    def of_rows(self, x: Float64Array, y: Float64Array, labels: Array | None) -> dict[str, Array]:
        """See `Measure.of_rows`."""
        with np.errstate(invalid="ignore", over="ignore"):
            return {"mean": y.mean(axis=1), "smallest": y.min(axis=1), "largest": y.max(axis=1)}

    def restore(self, found: dict[str, Any], rows: int) -> None:
        """See `Measure.restore`."""
        if whole(found["elements"]) % rows if rows else found["elements"]:
            raise ValueError("the elements of other rows")
        sums = {key: number(found[key]) for key in ("mean", "squares")}
        self.state = {"elements": found["elements"], **sums, **_restored_range(found, rows)}

    def summary(self) -> dict[str, Any]:
        """See `Measure.summary`."""
        s = self.state
        return {
            "mean": s["mean"],
            "standard_deviation": float(np.sqrt(s["squares"] / max(s["elements"], 1))),
            "smallest": s["smallest"],
            "largest": s["largest"],
        }


def _range(state: dict[str, Any], values: Float64Array) -> tuple[float, float]:
    """The smallest and the largest value, with those before; NaN where any is NaN."""
    low, high = float(values.min()), float(values.max())
    if state["smallest"] is None:
        return low, high
    return float(np.minimum(low, state["smallest"])), float(np.maximum(high, state["largest"]))


def _restored_range(found: dict[str, Any], rows: int) -> dict[str, float | None]:
    return {key: number(found[key]) if rows else None for key in ("smallest", "largest")}
