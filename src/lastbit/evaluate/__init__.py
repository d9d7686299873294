"""Evaluate a model on a data set of any size, in any runtimes' arithmetic.

The data goes by in chunks; what is counted is written to the report file every few seconds, so that an evaluation that
was interrupted goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..api import load, quantized_inputs
from ..engines import choose_engine
from ..engines.executable import Executable
from ..errors import InputError, LastBitError
from ..files import check_target, reason, write_bytes
from ..model import Model
from ..prepare import prepare
from ..runtimes import DEFAULT_RUNTIME, get_runtime
from ..types import Array
from .changes import Changes
from .data import DataSet, open_data
from .metrics import MOST_CLASSES, Anomaly, Classes, Measure, TargetError, real_values
from .report import SCHEMA, EvaluateReport

__all__ = ["evaluate"]

_SECONDS_BETWEEN_WRITES = 5.0
# A chunk's inputs and outputs.
_CHUNK_BYTES = 8 << 20
_MOST_ROWS = 8192

Update = Callable[[int, int, str], None]


def evaluate(
    model: str | os.PathLike[str] | bytes | Model,
    data: str,
    *,
    labels: str | None = None,
    runtimes: Sequence[str] = (),
    output: str | None = None,
    engine: str = "auto",
    threads: int = 1,
    quantize_input: bool = False,
    restart: bool = False,
    progress: Update | None = None,
) -> EvaluateReport:
    """Run a data set through a model, in the arithmetic of one runtime or of several, and count.

    Every row is calculated as if it came alone. After Ctrl-C the report of what was done so far is returned, with
    `complete` false.

    Args:
        model: a model with one input, a path or a file's bytes.
        data: a .npy, a .npz or a folder of them with the inputs `[rows, ...]`; the tensor's own type, or real values
            with `quantize_input`.
        labels: the same with one integer for each row (classes), or wanted outputs in real units.
        runtimes: names; the others are compared with the first one. None: the default runtime.
        output: the report file (.json). If it holds a partial result of the same evaluation, that is taken up.
        engine: see `lastbit.build`.
        threads: likewise.
        quantize_input: quantize real-valued data as the runtime does.
        restart: begin anew, whatever `output` holds.
        progress: told rows done, rows in all, and the rate.

    Returns:
        The report. Without labels: how often each class came; for a model whose output has its input's size, the
        anomaly score. With labels: accuracy and confusion, or errors to the wanted outputs.

    Raises:
        InputError: data, labels or the report file do not fit or cannot be read or written; what was done is in the
            report file.
        UnsupportedError: operators are refused or not covered on one of the runtimes.
    """
    loaded = load(model)
    if len(loaded.inputs) != 1:
        raise InputError(f"{loaded.source}: found {len(loaded.inputs)} inputs; evaluate takes models with one.")
    names = list(dict.fromkeys(get_runtime(name).name for name in (runtimes or (DEFAULT_RUNTIME,))))
    if output is not None:
        check_target(output, (".json",), keep=[data, *([labels] if labels else []), loaded.source])
    chosen = choose_engine(engine, float("inf"))
    built = [Executable(prepare(loaded, name), chosen, threads, one_by_one=True) for name in names]
    source = open_data(data, _keys(loaded, "x"), "data")
    targets = open_data(labels, ("y", "labels", "targets"), "labels") if labels is not None else None
    job = _Job(loaded, built, source, targets, quantize_input, output)
    job.check()
    if output is not None and not restart:
        job.take_up(output)
    return job.run(progress)


def _keys(model: Model, first: str) -> tuple[str, ...]:
    tensor = model.inputs[0]
    return (first, tensor.name, str(tensor.index), "arr_0")


@dataclass(eq=False)
class _Job:
    """One evaluation: what it reads, what it has counted."""

    model: Model
    built: list[Executable]
    source: DataSet
    targets: DataSet | None
    quantize_input: bool
    output: str | None
    done: int = 0
    seconds: float = 0.0
    measures: list[list[Measure]] = field(default_factory=list)
    changes: list[Changes] = field(default_factory=list)
    labelled: bool = False
    classes: int = 0

    def check(self) -> None:
        """Refuse data and labels that do not fit, and choose what is measured."""
        tensor, out = self.model.inputs[0], self.model.outputs[0]
        sample, elements = tensor.shape[1:], int(np.prod(tensor.shape[1:]))
        found, wanted = self.source.dtype, tensor.dtype.numpy
        if found != wanted and not (found.kind == "f" and (wanted == np.float32 or self.quantize_input)):
            hint = " (or --quantize-input, to quantize real values)" if found.kind == "f" else ""
            raise InputError(f"{self.source.path}: holds {found}, wanted {tensor.dtype.name}{hint} for {tensor.label}.")
        if self.source.sample != sample and int(np.prod(self.source.sample)) != elements:
            raise InputError(
                f"{self.source.path}: rows have shape {list(self.source.sample)}, wanted {list(sample)} (or "
                f"{elements} values) for {tensor.label}."
            )
        classes = int(np.prod(out.shape[1:]))
        labelled = False
        kinds: list[Callable[[], Measure]] = []
        like_input = classes == elements
        if self.targets is not None:
            if self.targets.rows != self.source.rows:
                raise InputError(
                    f"{self.targets.path}: found {self.targets.rows} labels for {self.source.rows} rows of data."
                )
            size = int(np.prod(self.targets.sample))
            labelled = size == 1 and self.targets.dtype.kind in "biu"
            if not labelled and size != classes:
                raise InputError(
                    f"{self.targets.path}: labels are {self.targets.dtype}{list(self.targets.sample)} for each row; "
                    f"wanted one integer (a class), or {classes} values (the wanted output)."
                )
            if not labelled:
                kinds.append(TargetError.new)
        if like_input and classes > 1:
            kinds.append(Anomaly.new)
        elif 1 < classes <= MOST_CLASSES and (labelled or self.targets is None):
            kinds.append(lambda: Classes.new(classes, labelled))
        elif labelled:
            raise InputError(
                f"{self.targets.path if self.targets else ''}: labels are classes, but the model's output has "
                f"{classes} values; wanted 2 to {MOST_CLASSES}."
            )
        self.labelled = labelled
        self.classes = classes if any(isinstance(kind(), Classes) for kind in kinds) else 0
        self.measures = [[kind() for kind in kinds] for _ in self.built]
        self.changes = [Changes(self.built[0].prepared, other.prepared) for other in self.built[1:]]

    @property
    def names(self) -> list[str]:
        """The runtimes' names."""
        return [executable.prepared.runtime.name for executable in self.built]

    def identity(self) -> dict[str, Any]:
        """What a partial result must agree in to be taken up."""
        return {
            "model_sha256": hashlib.sha256(self.model.content).hexdigest(),
            "runtimes": self.names,
            "data": self.source.identity,
            "labels": self.targets.identity if self.targets else None,
            "quantize_input": self.quantize_input,
        }

    def take_up(self, path: str) -> None:
        """Go on from the partial result in a file, if there is one."""
        try:
            with open(path, "rb") as file:
                found = json.loads(file.read())
            state, same = found["state"], found["schema"] == SCHEMA and found["identity"] == self.identity()
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {reason(error)}.") from None
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{path}: exists and is no report of lastbit evaluate; name another file, or begin anew with --restart."
            ) from None
        if not same:
            raise InputError(
                f"{path}: holds the result of another evaluation (another model, data, labels or runtimes); name "
                "another file, or begin anew with --restart."
            )
        self.done, self.seconds = int(found["rows"]), float(found["seconds"])
        for measures, states in zip(self.measures, state["measures"], strict=True):
            for measure, kept in zip(measures, states, strict=True):
                measure.state = kept
        for changes, kept in zip(self.changes, state["changes"], strict=True):
            changes.state = kept

    def run(self, progress: Update | None) -> EvaluateReport:
        """Read, calculate, count; write now and then."""
        began, first, before = time.monotonic(), self.done, self.seconds
        written = began
        widest = max(int(np.prod(tensor.shape[1:])) for tensor in (*self.model.inputs, *self.model.outputs))
        size = max(min(_CHUNK_BYTES // (8 * max(widest, 1)), _MOST_ROWS), 1)
        sizes: list[int] = []
        labels = self.targets.aligned_chunks(self.done, _drain(sizes)) if self.targets else None
        with _interruptions() as interrupted:
            try:
                for x in self.source.chunks(self.done, size):
                    sizes.append(len(x))
                    self._chunk(x, next(labels) if labels else None)
                    self.done += len(x)
                    now = time.monotonic()
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
                self._keep(error)
                raise
            if self.output is not None:
                self._write()
        return self.report()

    def _chunk(self, x: Array, labels: Array | None) -> None:
        tensor, out = self.model.inputs[0], self.model.outputs[0]
        x = x.reshape(len(x), *tensor.shape[1:])
        if x.dtype.kind == "f":
            self._check_finite(x)
            x = x.astype(np.float32, copy=False)
        if self.labelled and labels is not None:
            labels = self._check_labels(labels.reshape(-1))
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
        for changes, y, fed in zip(self.changes, outputs[1:], given[1:], strict=True):
            changes.add(self.done, fed, outputs[0], y, bool(self.classes))

    def _check_finite(self, x: Array) -> None:
        finite = np.isfinite(x)
        if not finite.all():
            place = [int(i) for i in np.argwhere(~finite)[0]]
            raise InputError(
                f"{self.source.path}: row {self.done + place[0]} holds {x[tuple(place)]} at {place[1:]}; wanted finite "
                "numbers. Mend or remove the row."
            )

    def _check_labels(self, labels: Array) -> Array:
        bad = np.flatnonzero((labels < 0) | (labels >= self.classes)) if self.classes else np.zeros(0, int)
        if bad.size:
            assert self.targets is not None
            raise InputError(
                f"{self.targets.path}: the label of row {self.done + int(bad[0])} is {labels[bad[0]]}; the model has "
                f"the classes 0 to {self.classes - 1}."
            )
        return labels

    def _keep(self, error: LastBitError) -> None:
        """Write what was done before an error, and say so in its message."""
        kept = f"{self.done} of {self.source.rows} rows were evaluated"
        if self.output is not None and self.done:
            try:
                self._write()
                kept += f"; their result is in {self.output}"
            except InputError:
                kept += f"; {self.output} has what was written last"
        error.args = (f"{error}\n{kept}.",)

    def _write(self) -> None:
        assert self.output is not None
        content = {
            **self.report().as_dict(),
            "identity": self.identity(),
            "state": {
                "measures": [[measure.state for measure in measures] for measures in self.measures],
                "changes": [changes.state for changes in self.changes],
            },
        }
        write_bytes(self.output, json.dumps(content, indent=1, allow_nan=False).encode())

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
            classes=self.classes,
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
