"""Precision, recall and F1 of each class, from the pairs of label and class that came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["class_scores"]


def class_scores(pairs: Iterable[tuple[int, int, int]]) -> dict[str, Any]:
    """How well each class is found.

    Precision is the share of the rows given a class that have its label, recall the share of the rows with a label
    that are given its class, F1 their harmonic mean. A share of no rows is None in the list of classes and counts as 0
    in the means, which are over the classes that came as label or as result, each with the same weight.

    Args:
        pairs: label, class and rows.

    Returns:
        `macro` with the three means, and `by_class`: class, rows with this label, precision, recall and F1.

    >>> found = class_scores([(0, 0, 3), (0, 1, 1), (1, 1, 2)])
    >>> found["by_class"][1]["precision"], found["by_class"][0]["recall"]
    (0.6666666666666666, 0.75)
    """
    labelled: dict[int, int] = {}
    given: dict[int, int] = {}
    right: dict[int, int] = {}
    for label, predicted, count in pairs:
        labelled[label] = labelled.get(label, 0) + count
        given[predicted] = given.get(predicted, 0) + count
        if label == predicted:
            right[label] = right.get(label, 0) + count
    rows = []
    for index in sorted(labelled.keys() | given.keys()):
        hits, wanted, found = right.get(index, 0), labelled.get(index, 0), given.get(index, 0)
        rows.append(
            {
                "class": index,
                "rows": wanted,
                "precision": hits / found if found else None,
                "recall": hits / wanted if wanted else None,
                "f1": 2 * hits / (wanted + found),
            }
        )
    means = {name: sum(row[name] or 0.0 for row in rows) / max(len(rows), 1) for name in ("precision", "recall", "f1")}
    return {"macro": means, "by_class": rows}
