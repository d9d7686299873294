"""One evaluation at work: what it reads, what it has counted, and how it ends when it cannot go on."""

from __future__ import annotations

import contextlib
import hashlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...engines.executable import Executable
from ...model.errors import DataError, InputError, LastBitError
from ...model.graph import Model
from ...model.types import Array
from ...report.json_text import number
from ..run.verb import quantized_inputs
from .changes import Changes
from .checkpoint import read_checkpoint, write_checkpoint
from .data import DataSet
from .metrics import Anomaly, Measure, real_values, whole
from .pace import Pace
from .report import EvaluateReport
from .row_results import RowResults
from .subject import Subject, choose

__all__ = ["Job", "Update"]

_SECONDS_BETWEEN_WRITES = 5.0
# The rows of a chunk, however small they are.
_MOST_ROWS = 8192

Update = Callable[[int, int, str], None]


@dataclass(eq=False)
class Job:
    """One evaluation. `check` comes first, then `take_up`, then `run`."""

    model: Model
    built: list[Executable]
    source: DataSet
    targets: DataSet | None
    quantize_input: bool
    output: str | None
    tops: Sequence[int] = ()
    results: RowResults | None = None
    done: int = 0
    seconds: float = 0.0
    measures: list[list[Measure]] = field(default_factory=list)
    changes: list[Changes] = field(default_factory=list)
    subject: Subject = field(default_factory=Subject)
    _identity: dict[str, Any] | None = None

    def check(self) -> None:
        """Refuse data and labels that do not fit, and choose what is measured."""
        self.subject = choose(self.model, self.source, self.targets, self.quantize_input, self.tops)
        self.measures = [self.subject.measures() for _ in self.built]
        self.changes = [Changes(self.built[0].prepared, other.prepared) for other in self.built[1:]]

    @property
    def names(self) -> list[str]:
        """The runtimes' names."""
        return [executable.prepared.runtime.name for executable in self.built]

    @property
    def identity(self) -> dict[str, Any]:
        """What a partial result must agree in to be taken up. The files are read for it once."""
        if self._identity is None:
            self._identity = {
                "model_sha256": hashlib.sha256(self.model.content).hexdigest(),
                "runtimes": self.names,
                "data": self.source.identity(),
                "labels": self.targets.identity() if self.targets else None,
                "quantize_input": self.quantize_input,
                "top": sorted(set(self.tops)),
            }
        return self._identity

    def take_up(self, path: str) -> None:
        """Go on from the partial result in a file, if there is one."""
        state = read_checkpoint(path, self.identity)
        if state is None:
            return
        try:
            rows, seconds = whole(state["rows"], self.source.rows), number(state["seconds"])
            if not 0 <= seconds < math.inf:
                raise ValueError("no time")
            for measures, states in zip(self.measures, state["measures"], strict=True):
                for measure, kept in zip(measures, states, strict=True):
                    measure.restore(kept, rows)
            for changes, kept in zip(self.changes, state["changes"], strict=True):
                changes.restore(kept, rows)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise InputError(
                f"{path}: is damaged: it holds no state of this evaluation. Name another file, or begin anew with "
                "--restart."
            ) from None
        if rows and self.results is not None:
            raise InputError(
                f"{self.results.path}: {rows} rows were evaluated before, and {path} holds no results of single rows. "
                "Begin anew with --restart."
            )
        self.done, self.seconds = rows, seconds

    def run(self, progress: Update | None) -> EvaluateReport:
        """Read, calculate, count; write now and then."""
        began, first, before = time.monotonic(), self.done, self.seconds
        written = began
        pace = Pace(self.model, _MOST_ROWS)
        sizes: list[int] = []
        if self.output is not None:
            _ = self.identity  # of the files as they are when the work begins
        labels = self.targets.aligned_chunks(self.done, _drain(sizes)) if self.targets else None
        with _interruptions() as interrupted:
            try:
                for x in self.source.chunks(self.done, lambda: pace.rows):
                    started = time.monotonic()
                    sizes.append(len(x))
                    self._take(x, next(labels) if labels else None)
                    now = time.monotonic()
                    pace.adapt(now - started)
                    self.seconds = before + now - began
                    if progress is not None:
                        left = self.source.rows - self.done
                        progress(self.done, self.source.rows, _rate(self.done - first, now - began, left))
                    if interrupted:
                        break
                    if self.output is not None and now - written > _SECONDS_BETWEEN_WRITES:
                        self._write()
                        written = now
            except LastBitError as error:
                self._stop(error)
            if self.output is not None:
                self._write()
        if self.results is not None:
            self.results.write()
        return self.report()

    def _take(self, x: Array, labels: Array | None) -> None:
        """Count a chunk: all of it, or the rows before the first that cannot be used."""
        tensor = self.model.inputs[0]
        x = x.reshape(len(x), *tensor.shape[1:])
        wide = x
        if x.dtype.kind == "f":
            with np.errstate(over="ignore"):  # it is checked behind the cast
                x = x.astype(np.float32, copy=False)
        faults = [fault for fault in (self._bad_value(x, wide), self._bad_label(labels)) if fault is not None]
        rows, message = min(faults, default=(len(x), ""))
        if rows:
            self._count(x[:rows], None if labels is None else labels[:rows])
            self.done += rows
        if message:
            raise InputError(message)

    def _bad_value(self, x: Array, stored: Array) -> tuple[int, str] | None:
        """The first row whose data is no finite float32, and what to say of it."""
        if x.dtype.kind != "f" or (finite := np.isfinite(x)).all():
            return None
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        return place[0], (
            f"{self.source.path}: row {self.done + place[0]} holds {stored[place]} at {list(place[1:])}; wanted finite "
            "numbers of float32. Fix or remove the row."
        )

    def _bad_label(self, labels: Array | None) -> tuple[int, str] | None:
        """The first row whose label is no class, or no finite number, and what to say of it."""
        if labels is None:
            return None
        assert self.targets is not None
        flat = labels.reshape(len(labels), -1)
        if self.subject.classes and self.subject.labelled:
            bad, wanted = (
                (flat < 0) | (flat >= self.subject.classes),
                (f"the model has the classes 0 to {self.subject.classes - 1}"),
            )
        elif flat.dtype.kind == "f":
            with np.errstate(over="ignore"):
                bad, wanted = ~np.isfinite(flat.astype(np.float64)), "wanted finite numbers. Fix or remove the row"
        else:
            return None
        if not bad.any():
            return None
        row, column = (int(i) for i in np.argwhere(bad)[0])
        at = f" holds {flat[row, column]} at element {column}" if flat.shape[1] > 1 else f" is {flat[row, column]}"
        return row, f"{self.targets.path}: the label of row {self.done + row}{at}; {wanted}."

    def _count(self, x: Array, labels: Array | None) -> None:
        tensor, out = self.model.inputs[0], self.model.outputs[0]
        if self.subject.labelled and labels is not None:
            labels = labels.reshape(-1)
        given, outputs = [], []
        for executable in self.built:
            fed = x
            if x.dtype != tensor.dtype.numpy:
                fed = next(iter(quantized_inputs(self.model, [x], executable.prepared.runtime).values()))
            given.append(fed)
            outputs.append(executable(fed).reshape(len(x), -1))
        # Only now is anything counted: whatever fails above leaves the counts those of whole chunks.
        real = np.zeros((0, 0))
        if any(isinstance(measure, Anomaly) for measure in self.measures[0]):
            real = (x.astype(np.float64) if x.dtype.kind == "f" else real_values(tensor, x)).reshape(len(x), -1)
        for y, measures in zip(outputs, self.measures, strict=True):
            y_real = real_values(out, y) if measures else real
            for measure in measures:
                measure.add(real, y_real, labels)
        if self.results is not None:
            self.results.add(self._of_rows(real, outputs, labels))
        for changes, y, fed in zip(self.changes, outputs[1:], given[1:], strict=True):
            changes.add(self.done, fed, outputs[0], y, bool(self.subject.classes) and self.subject.positions == 1)

    def _of_rows(self, real: Array, outputs: Sequence[Array], labels: Array | None) -> dict[str, Array]:
        """What is known of each row of a chunk, by column."""
        one = self.subject.labelled and self.subject.positions == 1
        columns: dict[str, Array] = {"label": labels} if one and labels is not None else {}
        for name, y, measures in zip(self.names, outputs, self.measures, strict=True):
            for measure in measures:
                found = measure.of_rows(real, real_values(self.model.outputs[0], y), labels)
                columns |= {f"{name}/{what}": values for what, values in found.items()}
        return columns

    def _stop(self, error: LastBitError) -> None:
        """Write what was done before an error, and raise it with that in its message."""
        kept = f"{self.done} of {self.source.rows} rows were evaluated"
        if self.results is not None and self.done:
            with contextlib.suppress(InputError):
                self.results.write()
                kept += f"; {self.results.path} has them"
        if self.output is not None and self.done:
            try:
                self._write()
                kept += f"; their result is in {self.output}"
            except InputError:
                kept += f"; {self.output} has what was written last"
        text = f"{error}\n{kept}."
        if type(error) is InputError:
            raise DataError(text, replace(self.report(), stopped=True)) from None
        error.args = (text,)
        raise error

    def _write(self) -> None:
        assert self.output is not None
        state = {
            "rows": self.done,
            "seconds": self.seconds,
            "measures": [[measure.saved() for measure in measures] for measures in self.measures],
            "changes": [changes.state for changes in self.changes],
        }
        write_checkpoint(self.output, self.report().as_dict(), self.identity, state)

    def report(self) -> EvaluateReport:
        """What was found up to now."""
        return EvaluateReport(
            model=self.model,
            data=self.source.path,
            runtimes=tuple(self.names),
            engine=self.built[0].engine,
            threads=self.built[0].threads,
            rows=self.done,
            total=self.source.rows,
            seconds=self.seconds,
            measures=tuple({m.name: m.summary() for m in measures} for measures in self.measures),
            changes=tuple(changes.state for changes in self.changes),
            classes=self.subject.classes,
            positions=self.subject.positions,
            output=self.output,
        )


@contextlib.contextmanager
def _interruptions() -> Iterator[list[int]]:
    """Let the first Ctrl-C end the work behind the chunk that is being counted: the list is not empty then.

    A second one interrupts at once. Outside of the main thread there are no signals to catch.
    """
    found: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield found
        return

    def remember(number: int, _frame: object) -> None:
        if found:
            raise KeyboardInterrupt
        found.append(number)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, before)


def _drain(sizes: list[int]) -> Iterator[int]:
    """Each size once, as it comes."""
    while True:
        yield sizes.pop(0)


def _rate(rows: int, seconds: float, left: int) -> str:
    """Rows per second and the time left, in words."""
    if rows <= 0 or seconds <= 0:
        return ""
    rate = rows / seconds
    rest = int(left / rate)
    return f"{rate:,.0f} rows/s, {rest // 3600}:{rest % 3600 // 60:02d}:{rest % 60:02d} left"
