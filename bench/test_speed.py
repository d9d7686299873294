"""The engines and the real interpreters under pytest-benchmark: its statistics, and one commit beside another.

    python -m pytest bench/test_speed.py [-k 640x128-256] [--benchmark-autosave] [--benchmark-compare]

Each group is one model at one batch; the numbers in brackets are multiples of its fastest. pytest-benchmark times one
contender after the other: for ratios that a busy machine does not shift, engine.py beside it times them by turns.
With --benchmark-disable each runs once and its output is compared, which is what the tests do.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from bench.engine import MODELS, SHAPES, WHOLE, dense
from lastbit.model.graph import Model
from lastbit.model.types import Array
from lastbit.runtimes import get_runtime
from lastbit.verbs.bench.peers import Contender, contenders, operations
from lastbit.verbs.bench.verb import BATCHES, DEFAULT_RUNTIMES, random_input
from lastbit.verbs.run.verb import load

# A call that takes more operations is left to the fast ones, and beyond that to nobody.
MOST_FOR_SLOW, MOST = 2e9, 4e10
FAST = ("LastBit", "LiteRT", "LiteRT builtin")
CASES = [f"{depth}x{units}" for depth, units in SHAPES] + list(WHOLE)
RUNTIMES = [get_runtime(name).name for name in DEFAULT_RUNTIMES]
PEERS = ["LiteRT", "LiteRT builtin", "LiteRT reference", "TensorFlow Lite Micro", "ONNX Runtime", "NumPy int32"]
NAMES = [f"LastBit {name}" for name in RUNTIMES] + PEERS


@functools.cache
def case_model(case: str) -> Model:
    if case not in WHOLE:
        depth, units = map(int, case.split("x"))
        return dense(depth, units)
    path = MODELS / f"{WHOLE[case]}.tflite"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    return load(path)


@functools.cache
def case_contenders(case: str) -> dict[str, Contender]:
    return {each.name: each for each in contenders(case_model(case), RUNTIMES, "jit", 1)}


def real_output(case: str, runtime: str, x: Array) -> Array | None:
    """What the real interpreter of a runtime gives."""
    for each in case_contenders(case).values():
        if each.runtime == runtime and not each.ours and (call := each.make(len(x))) is not None:
            return call(x)
    return None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("case", CASES)
def test_speed(case: str, batch: int, name: str, benchmark: Any) -> None:
    work = operations(case_model(case)) * batch
    contender = case_contenders(case).get(name)
    if contender is None:
        pytest.skip("not installed, or it does not run this model")
    if work > (MOST if name.startswith(FAST[0]) or name in FAST else MOST_FOR_SLOW):
        pytest.skip("it would take too long")
    call = contender.make(batch)
    if call is None:
        pytest.skip("it does not run this model")
    x = random_input(case_model(case), batch, np.random.default_rng(0))
    benchmark.group = f"{case}, batch {batch}"
    benchmark.extra_info["operations"] = work
    output = benchmark(call, x)
    if contender.ours and (real := real_output(case, contender.runtime, x[:16])) is not None:
        np.testing.assert_array_equal(output[:16], real)
