"""How fast a model runs: LastBit's engines beside the real interpreters, same model, same data, by turns."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...engines import choose_engine
from ...engines.executable import Executable
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model
from ...model.types import Array, IntegerType
from ...ops.prepare import missing_outputs
from ...report.output_files import reason
from ...runtimes import DEFAULT_RUNTIME, Runtime, get_runtime
from ...runtimes.machine import cpu_text
from ..run.verb import load
from .measure import by_turns, machine_peak
from .peers import Contender, contenders, operations
from .report import BenchReport, BenchRow

__all__ = ["BATCHES", "DEFAULT_RUNTIMES", "bench"]

BATCHES = (1, 16, 256, 4096)
DEFAULT_RUNTIMES = (DEFAULT_RUNTIME, "litert-builtin-x86", "litert-reference", "tflm")

# A contender that would need longer for all rows is timed on fewer.
_LONGEST_CALL = 0.4

Update = Callable[[int, int, str], None]


def bench(
    model: str | os.PathLike[str] | bytes | Model,
    *,
    batches: Sequence[int] = BATCHES,
    runtimes: Sequence[str | Runtime] = (),
    engine: str = "auto",
    threads: int = 1,
    seconds: float = 2.0,
    memory: bool = True,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
    progress: Update | None = None,
) -> BenchReport:
    """Time a model.

    Args:
        model: a model with one input, a path or a file's bytes.
        batches: rows in one call.
        runtimes: runtimes or their names, whose arithmetic LastBit calculates; default: LiteRT's three kinds of kernels
            and TensorFlow Lite Micro. LiteRT's default stands for the variant of this CPU.
        engine: see `lastbit.build`.
        threads: threads of LastBit and of LiteRT; with more than one the interpreters that have one are left out.
        seconds: about how long each batch may take.
        memory: measure the peak memory of LastBit and of LiteRT too, each in a process of its own.
        seed: of the random input.
        clock: what times a call; `time.thread_time` on a machine that has other work, for one thread.
        progress: told how far it is.

    Returns:
        The report.

    Raises:
        InputError: the model has not one input, or a batch is not positive.
    """
    loaded = load(model)
    loaded.subgraphs[0].require_scales()
    if len(loaded.inputs) != 1:
        raise InputError(f"{loaded.source}: found {len(loaded.inputs)} inputs; bench takes models with one.")
    if missing := missing_outputs(loaded):
        raise UnsupportedError(f"{loaded.source}: {loaded.first_output.label} has no value", list(missing.values()))
    if not loaded.outputs:
        raise InputError(f"{loaded.source}: the model has no outputs; bench compares what they are.")
    if any(batch < 1 for batch in batches) or not batches:
        raise InputError(f"found batches {list(batches)}, wanted numbers from 1.")
    chosen = choose_engine(engine, float("inf"))
    asked = list(map(get_runtime, runtimes or DEFAULT_RUNTIMES))
    runners = contenders(loaded, asked, chosen, threads)
    rows: list[BenchRow] = []
    failed: dict[str, str] = {}
    for done, batch in enumerate(batches):
        if progress is not None:
            progress(done, len(batches), f"batch {batch}")
        rows += _batch(loaded, runners, batch, seconds, np.random.default_rng(seed), clock, failed)
    used = _memory(loaded, max(batches), asked[0], chosen) if memory else {}
    return BenchReport(
        model=loaded.source,
        operations=operations(loaded),
        cpu=cpu_text(),
        peak=machine_peak(),
        engine=chosen,
        threads=threads,
        rows=tuple(rows),
        memory=used,
        as_reference=_as_reference(runners),
        failed=failed,
    )


def _as_reference(runners: Sequence[Contender]) -> dict[str, Mapping[str, str]]:
    """LastBit's contenders that run operators as the reference engine does, and why."""
    built = {runner.name: runner.make(1) for runner in runners if runner.ours}
    found = {name: call.as_reference for name, call in built.items() if isinstance(call, Executable)}
    return {name: operators for name, operators in found.items() if operators}


@dataclass(frozen=True, eq=False)
class _Entry:
    """A contender that is timed: its function, its input, and its output for the first rows."""

    contender: Contender
    call: Callable[[Array], Array]
    x: Array
    output: Array


def _batch(
    model: Model,
    runners: Sequence[Contender],
    batch: int,
    seconds: float,
    rng: np.random.Generator,
    clock: Callable[[], float],
    failed: dict[str, str],
) -> list[BenchRow]:
    x = random_input(model, batch, rng)
    entries = [entry for runner in runners if (entry := _entry(runner, x, failed)) is not None]
    times = by_turns([lambda e=e: e.call(e.x) for e in entries], seconds, clock)  # type: ignore[misc]
    per_row = [spent / len(entry.x) for entry, spent in zip(entries, times, strict=True)]
    found = []
    for entry, spent in zip(entries, per_row, strict=True):
        mine = entry.contender
        real = next(
            (i for i, e in enumerate(entries) if e.contender.runtime == mine.runtime and not e.contender.ours), None
        )
        if not mine.ours:
            real = None
        default = next((s for e, s in zip(entries, per_row, strict=True) if e.contender.name == "LiteRT"), None)
        found.append(
            BenchRow(
                batch=batch,
                name=mine.name,
                ours=mine.ours,
                seconds=spent * batch,
                timed_rows=len(entry.x),
                to_real=per_row[real] / spent if real is not None else None,
                to_default=default / spent if default is not None else None,
                same=_same(entry, entries[real]) if real is not None else None,
            )
        )
    return found


def _entry(runner: Contender, x: Array, failed: dict[str, str]) -> _Entry | None:
    """A contender with its first output; None where it cannot take the model or so many rows.

    A real interpreter may take a model and then fail: it is left out, and `failed` keeps what it says.
    """
    if runner.name in failed:
        return None
    try:
        rows = len(x)
        call = runner.make(rows)
        if call is not None and not runner.ours and rows > 16:
            rows = _affordable(runner, x, rows)
            call = runner.make(rows)
        return None if call is None else _Entry(runner, call, x[:rows], call(x[:rows]))
    except (RuntimeError, ValueError) as error:
        if runner.ours:
            raise
        failed[runner.name] = reason(error).rstrip(".")
        return None


def _same(a: _Entry, b: _Entry) -> bool:
    """Whether two gave the same bytes for the rows that both ran."""
    if a.output.size % len(a.x) or b.output.size % len(b.x):  # a constant, say, which has no rows
        return a.output.tobytes() == b.output.tobytes()
    rows = min(len(a.x), len(b.x))
    first, second = (entry.output.reshape(len(entry.x), -1)[:rows] for entry in (a, b))
    return first.tobytes() == second.tobytes()


def _affordable(runner: Contender, x: Array, batch: int) -> int:
    """So many rows that a call stays below the limit, from the time of 16."""
    few = runner.make(16)
    assert few is not None
    each = by_turns([lambda: few(x[:16])], 0.0)[0] / 16
    return max(min(batch, int(_LONGEST_CALL / each)), 16)


def random_input(model: Model, rows: int, rng: np.random.Generator) -> Array:
    """Random values over the input's whole range; ordinary ones where it is float."""
    tensor = model.first_input
    shape = (rows, *tensor.shape[1:]) if len(tensor.shape) > 1 else tensor.shape
    if not isinstance(tensor.dtype, IntegerType):
        return rng.normal(scale=3.0, size=shape).astype(tensor.dtype.numpy)
    return rng.integers(tensor.dtype.qmin, tensor.dtype.qmax + 1, shape).astype(tensor.dtype.numpy)


_CHILD = """
import os, resource, sys, threading
model, runtime = (sys.stdin.buffer.read(int(sys.stdin.buffer.readline())) for _ in range(2))
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()  # ends with its parent
import pickle
import numpy as np
import lastbit
from lastbit.verbs.bench.verb import random_input
from lastbit.verbs.bench.peers import contenders
batch, engine, which = sys.argv[1:]
model = lastbit.load(model)
runners = contenders(model, [pickle.loads(runtime)], engine, 1)
runner = next(r for r in runners if (r.ours if which == "ours" else r.name == "LiteRT"))
x = random_input(model, int(batch), np.random.default_rng(0))
call = runner.make(int(batch))
for _ in range(2):
    call(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _memory(model: Model, batch: int, runtime: Runtime, engine: str) -> dict[str, int]:
    """Peak memory of a whole process that runs the largest batch, in bytes: LastBit's and LiteRT's."""
    found = {}
    pipe = subprocess.PIPE
    given = [bytes(model.content), pickle.dumps(runtime)]
    for name, which in ((f"LastBit {runtime.name}", "ours"), ("LiteRT", "theirs")):
        command = [sys.executable, "-P", "-c", _CHILD, str(batch), engine, which]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(b"".join(b"%d\n%b" % (len(part), part) for part in given))
                child.stdin.flush()  # and it stays open: its end is the end of this process
            printed = child.stdout.read()
            code = child.wait()
        if code == 0:
            scale = 1 if sys.platform == "darwin" else 1024
            found[name] = int(printed.split()[-1]) * scale
    return found
