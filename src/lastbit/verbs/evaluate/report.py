"""What an evaluation found, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...model.graph import Model
from ...report.blocks import Block, Heading, Report, Table, Text
from ...report.one_screen import one_screen
from ...report.pictures import Bars, HeatMap, Picture

__all__ = ["SCHEMA", "EvaluateReport"]

SCHEMA = "lastbit.evaluate/1"
# Classes that a table shows one by one; and rows of a table of the most frequent ones.
_MOST_SHOWN, _FEW = 20, 8
_MEANS = {"precision": "precision", "recall": "recall", "f1": "F1"}


@dataclass(frozen=True, eq=False, repr=False)
class EvaluateReport(Report):
    """The outcome of `lastbit evaluate`.

    Attributes:
        model: the model.
        data: the data set's path.
        runtimes: names; the others were compared with the first.
        engine: what calculated.
        threads: with how many threads.
        rows: rows evaluated.
        total: rows of the data set.
        seconds: how long that took, all sessions together.
        measures: for each runtime, measure -> what it says.
        changes: for each runtime but the first, what differs.
        classes: classes that the largest output stands for; 0 where it stands for none.
        output: the report file, or None.
        stopped: whether a row could not be used, so that the rows before it are all there is.
        positions: classes that each row has.
    """

    model: Model
    data: str
    runtimes: tuple[str, ...]
    engine: str
    threads: int
    rows: int
    total: int
    seconds: float
    measures: tuple[Mapping[str, Mapping[str, Any]], ...]
    changes: tuple[Mapping[str, Any], ...]
    classes: int
    output: str | None
    stopped: bool = False
    positions: int = 1

    @property
    def complete(self) -> bool:
        """Whether all rows were evaluated."""
        return self.rows == self.total

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data (schema `lastbit.evaluate/1`)."""
        return {
            "schema": SCHEMA,
            "model": self.model.source,
            "data": self.data,
            "engine": self.engine,
            "threads": self.threads,
            "complete": self.complete,
            "rows": self.rows,
            "rows_in_all": self.total,
            "seconds": round(self.seconds, 3),
            "runtimes": [
                {"name": name, **{measure: dict(found) for measure, found in measures.items()}}
                for name, measures in zip(self.runtimes, self.measures, strict=True)
            ],
            "changes": [
                {
                    "from": self.runtimes[0],
                    "to": name,
                    "rows": found["rows"],
                    "elements": found["elements"],
                    **({"classes": found["classes"]} if self.classes and self.positions == 1 else {}),
                    "largest_difference": found["largest"],
                    "examples": found["examples"],
                    "rows_followed": found["followed"],
                    "begins_at": [
                        {"operator": int(index), "name": self.model.operators[int(index)].name, "rows": rows}
                        for index, rows in sorted(found["begins"].items(), key=lambda item: int(item[0]))
                    ],
                }
                for name, found in zip(self.runtimes[1:], self.changes, strict=True)
            ],
        }

    def pictures(self) -> list[Picture]:
        """The confusion of each runtime, and at which operators rows begin to change."""
        found: list[Picture] = []
        for name, measures in zip(self.runtimes, self.measures, strict=True):
            matrix = measures.get("classes", {}).get("confusion")
            if matrix is not None:
                values, few = np.asarray(matrix), self.classes <= _MOST_SHOWN
                found.append(HeatMap(f"Label and class, {name}", values, "class", "label", "rows", numbered=few))
        for name, change in zip(self.runtimes[1:], self.changes, strict=True):
            begins = sorted((int(index), rows) for index, rows in change["begins"].items())
            if begins:
                names = [self.model.operators[index].label.removeprefix("operator ") for index, _ in begins]
                title = f"Where rows begin to differ, {self.runtimes[0]} and {name}"
                found.append(Bars(title, names, [rows for _, rows in begins], "operator", "rows"))
        return found

    def records(self) -> list[dict[str, Any]]:
        """A row for each runtime with its numbers."""
        return [
            {"runtime": name, **{key: value for found in measures.values() for key, value in _numbers(found).items()}}
            for name, measures in zip(self.runtimes, self.measures, strict=True)
        ]

    def in_short(self) -> list[str]:
        """What was evaluated, and the first runtime's numbers."""
        head = f"{self.model.source} on {self.data}, {', '.join(self.runtimes)}: {self.rows:,} of {self.total:,} rows"
        plain = {name: value for found in self.measures[0].values() for name, value in _numbers(found).items()}
        counted = ", ".join(f"{key} {_number(value)}" for key, value in plain.items())
        return [head, *([counted] if counted else [])]

    def first_screen(self) -> list[Block]:
        """All of it, with as many rows as a screen has room for."""
        return one_screen(self.blocks())

    def blocks(self) -> list[Block]:
        """What a person should read."""
        rate = f", {self.rows / self.seconds:,.0f} rows/s" if self.seconds > 0 and self.rows else ""
        blocks: list[Block] = [
            Text(
                f"{', '.join(self.runtimes)}: {self.rows:,} of {self.total:,} rows of {self.data} in "
                f"{self.model.source}, engine {self.engine}{rate}"
            )
        ]
        if not self.complete:
            way = "Run the same command again to go on." if self.output else "With -o FILE it could go on from here."
            what = f"the result is that of the first {self.rows:,} rows."
            blocks.append(Text(what.capitalize() if self.stopped else f"interrupted: {what} {way}", "warning"))
        headers = ["runtime"]
        rows: list[list[object]] = [[name] for name in self.runtimes]
        for measure in self.measures[0]:
            for name in _numbers(self.measures[0][measure]):
                headers.append(name)
                for row, found in zip(rows, self.measures, strict=True):
                    row.append(_number(_numbers(found[measure])[name]))
        if len(headers) > 1:
            blocks.append(Table(headers, rows, right=headers[1:], close=True))
        if any("macro" in found for found in self.measures[0].values()):
            blocks.append(Text("precision, recall and F1 are means over the classes", "dim"))
        blocks += self._classes()
        blocks += self._labels()
        for name, found in zip(self.runtimes[1:], self.changes, strict=True):
            blocks += self._change(name, found)
        return blocks

    def _classes(self) -> list[Block]:
        """How often each class came; of many classes those that came most."""
        if not self.classes:
            return []
        found = self.measures[0]["classes"]
        labelled, few = "predicted" not in found, self.classes <= _MOST_SHOWN
        if few and labelled:
            rows = [[label, *counts] for label, counts in enumerate(found["confusion"])]
            headers = ["label", *map(str, range(self.classes))]
            matrix = Table(headers, rows, title=f"label and class, {self.runtimes[0]}", right=headers)
            return [*self._scores(found["by_class"]), matrix]
        if few:
            rows = [
                [name, *measures["classes"]["predicted"]]
                for name, measures in zip(self.runtimes, self.measures, strict=True)
            ]
            headers = ["class", *map(str, range(self.classes))]
            return [Table(headers, rows, title="rows of each class", right=headers[1:])]
        if labelled:
            wrong = [pair for pair in _pairs(found) if pair[0] != pair[1]]
            most = sorted(wrong, key=lambda pair: -pair[2])[:_FEW]
            headers = ["label", "class", "rows"]
            title: Block = Heading(f"Most frequent mistakes, {self.runtimes[0]}")
            worst = sorted(found["by_class"], key=lambda row: (row["f1"], row["class"]))[:_FEW]
            return [*self._scores(worst), *([title, Table(headers, most, right=headers)] if most else [])]
        order = sorted(range(self.classes), key=lambda c: -found["predicted"][c])[:_FEW]
        rows = [[c, *(f"{measures['classes']['predicted'][c]:,}" for measures in self.measures)] for c in order]
        return [
            Heading("Rows of the most frequent classes"),
            Table(["class", *self.runtimes], rows, right=self.runtimes),
        ]

    def _scores(self, rows: Sequence[Mapping[str, Any]]) -> list[Block]:
        """Precision, recall and F1 of some classes."""
        headers = ("class", "rows", "precision", "recall", "F1")
        cells = [[row["class"], *(_number(row[key]) for key in ("rows", "precision", "recall", "f1"))] for row in rows]
        few = "" if self.classes <= _MOST_SHOWN else f", the {len(cells)} with the lowest F1"
        return [Table(headers, cells, title=f"each class, {self.runtimes[0]}{few}", right=headers)]

    def _labels(self) -> list[Block]:
        groups = [measures.get("anomaly", {}).get("mean_by_label", {}) for measures in self.measures]
        if not groups[0]:
            return []
        headers = ["runtime", *(f"label {label}" for label in groups[0])]
        rows = [[name, *map(_number, group.values())] for name, group in zip(self.runtimes, groups, strict=True)]
        return [Table(headers, rows, title="mean anomaly score", right=headers[1:])]

    def _change(self, name: str, found: Mapping[str, Any]) -> list[Block]:
        first = self.runtimes[0]
        if not found["rows"]:
            return [Text(f"{name}: all outputs are those of {first}", "good")]
        share = 100 * found["rows"] / max(self.rows, 1)
        text = f"{name}: {found['rows']:,} rows ({share:.3g} %) differ from {first}, by at most {found['largest']:g}"
        if self.classes and self.positions == 1:
            text += f"; {found['classes']:,} get another class"
        blocks: list[Block] = [Heading(f"{first} and {name}"), Text(text)]
        shown = []
        for example in found["examples"][:8]:
            classes = example.get("classes")
            turned = f" (class {classes[0]} to {classes[1]})" if classes and classes[0] != classes[1] else ""
            shown.append(f"{example['row']}{turned}")
        more = ", ..." if found["rows"] > len(shown) else ""
        blocks.append(Text(f"rows: {', '.join(shown)}{more}"))
        begins = [
            f"{self.model.operators[int(index)].label} ({count})"
            for index, count in sorted(found["begins"].items(), key=lambda item: int(item[0]))
        ]
        blocks.append(Text(f"the change begins at (of {found['followed']} rows followed): {', '.join(begins)}"))
        return blocks


def _numbers(found: Mapping[str, Any]) -> dict[str, Any]:
    """The single numbers of a measure, by what people call them."""
    plain = {key.replace("_", " "): value for key, value in found.items() if not isinstance(value, list | dict)}
    tops = {f"top {entry['k']}": entry["share"] for entry in found.get("top", ())}
    return {**plain, **tops, **{_MEANS[key]: value for key, value in found.get("macro", {}).items()}}


def _number(value: object) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else f"{value:,}"


def _pairs(found: Mapping[str, Any]) -> list[list[int]]:
    """Label, class and rows, where there are any."""
    if "confusion_pairs" in found:
        return [*found["confusion_pairs"]]
    matrix = enumerate(found["confusion"])
    return [[label, predicted, n] for label, counts in matrix for predicted, n in enumerate(counts) if n]
