"""Evaluate a model on a data set of any size, in any runtimes' arithmetic.

The data goes by in chunks; what is counted is written to the report file every few seconds, so that an evaluation that
was interrupted goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...engines import choose_engine
from ...engines.executable import Executable
from ...engines.inputs import match_inputs
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model
from ...ops.prepare import prepare
from ...report.output_files import check_target
from ...runtimes import DEFAULT_RUNTIME, Runtime, get_runtime
from ..run.verb import load
from .data import open_data
from .job import Job, Update
from .report import EvaluateReport
from .row_results import ROW_ENDINGS, RowResults

__all__ = ["evaluate"]


def evaluate(
    model: str | os.PathLike[str] | bytes | Model,
    data: Any,
    *,
    labels: Any = None,
    runtimes: Sequence[str | Runtime] = (),
    output: str | None = None,
    engine: str = "auto",
    threads: int = 1,
    quantize_input: bool = False,
    restart: bool = False,
    top: Sequence[int] = (),
    rows: str | None = None,
    progress: Update | None = None,
) -> EvaluateReport:
    """Run a data set through a model, in the arithmetic of one runtime or of several, and count.

    Every row is calculated as if it came alone. After Ctrl-C the report of what was done so far is returned, with
    `complete` false.

    Args:
        model: a model with one input, a path or a file's bytes.
        data: the inputs `[rows, ...]`: an array, a mapping from the input's name or index to one, or the path of a
            .npy, a .npz or a folder of them, or of a .csv or .txt; the tensor's own type, or real values with
            `quantize_input`.
        labels: an array or a path, with one integer for each row (classes), or for each place of an output such as
            `[1, 16, 32]` (16 of them), or wanted outputs in real units.
        runtimes: runtimes or their names; the others are compared with the first one. None: the default runtime.
        output: the report file (.json). If it holds a partial result of the same evaluation, that is taken up.
        engine: see `lastbit.build`.
        threads: the same.
        quantize_input: quantize real-valued data as the runtime does.
        restart: begin anew, whatever `output` holds.
        top: for each K, count the labels among the K largest outputs; 5 where there are more classes.
        rows: a .csv or .npz to which the result of each row is written; it is kept in memory until the end.
        progress: told rows done, rows in all, and the rate.

    Returns:
        The report. Without labels: how often each class came, or mean and range of outputs that are no classes; for a
        model whose output has its input's size, the anomaly score. With labels: accuracy, top K, precision, recall and
        F1 of each class, and confusion; or errors to the wanted outputs.

    Raises:
        DataError: a row of data or labels cannot be used; the rows before it were counted, see `report`.
        InputError: data, labels or the report file do not fit or cannot be read or written; what was done is in the
            report file.
        UnsupportedError: operators are refused or not covered on one of the runtimes.
    """
    loaded = load(model)
    if len(loaded.inputs) != 1:
        raise InputError(f"{loaded.source}: found {len(loaded.inputs)} inputs; evaluate takes models with one.")
    tensor, out = loaded.first_input, loaded.first_output
    asked = {found.name: found for found in map(get_runtime, runtimes or (DEFAULT_RUNTIME,))}
    if isinstance(data, Mapping):
        data = match_inputs(loaded, data)[0][1]
    paths = [os.fspath(path) for path in (data, labels) if isinstance(path, str | os.PathLike)]
    for target, endings in ((output, (".json",)), (rows, ROW_ENDINGS)):
        if target is not None:
            check_target(target, endings, keep=[*paths, loaded.source])
    chosen = choose_engine(engine, float("inf"))
    _refuse_state(loaded)
    built = [Executable(prepare(loaded, found), chosen, threads, one_by_one=True) for found in asked.values()]
    source = open_data(data, ("x", tensor.name, str(tensor.index), "arr_0"), "data").with_batch(tensor.shape[1:])
    if tensor.dtype.numpy is not None:
        source = source.of_type(tensor.dtype.numpy)
    targets = None if labels is None else open_data(labels, ("y", "labels", "targets"), "labels")
    if targets is not None and source.rows == 1:
        targets = targets.with_batch(out.shape[1:])
    results = None if rows is None else RowResults(rows)
    job = Job(loaded, built, source, targets, quantize_input, output, tuple(top), results)
    job.check()
    if output is not None and not restart:
        job.take_up(output)
    return job.run(progress)


def _refuse_state(model: Model) -> None:
    """A row of a stream depends on those before it, and here rows are taken up again, cut and counted one by one."""
    if any(op.name == "ASSIGN_VARIABLE" for op in model.operators):
        raise UnsupportedError(
            f"{model.source}: evaluate takes rows that do not depend on each other:",
            ["the model keeps state between calls (ASSIGN_VARIABLE); `lastbit run` takes a stream, call by call"],
        )
