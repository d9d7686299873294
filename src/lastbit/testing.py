"""For your own tests: assert that an implementation equals a real runtime's arithmetic, to the last bit."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .engines.inputs import with_batch
from .layers.differences import compare_arrays, worked_element
from .model.graph import Model
from .model.types import Array
from .runtimes import DEFAULT_RUNTIME, Runtime, goes_by_cpu
from .verbs.run.verb import load, run

__all__ = ["assert_bitexact"]


def assert_bitexact(
    fn_or_array: Callable[[Array], Any] | Any,
    model: str | os.PathLike[str] | bytes | Model,
    x: Any,
    runtime: str | Runtime = DEFAULT_RUNTIME,
) -> None:
    """Assert that an array, or a function's result for `x`, is what a runtime prints for the model's first output.

    Args:
        fn_or_array: your output, or a function that takes `x` and returns it. Dtype and shape must be the output
            tensor's own; a batch dimension of 1 may be missing.
        model: a Model, a path or a file's bytes.
        x: the input, as `lastbit.run` takes it.
        runtime: the exact runtime or its name. Name it: the default is what `Interpreter(model)` does on the CPU that
            runs the test, which is another arithmetic on another CPU.

    Raises:
        AssertionError: something differs; the message counts it and works the first bad element out by hand.
        LastBitError: the model, the input or the runtime is not usable.

    >>> import lastbit, numpy as np
    >>> from lastbit.verbs.demo.verb import demo_model
    >>> x = np.zeros((1, 16, 48), np.int8)
    >>> assert_bitexact(lambda x: lastbit.run(demo_model(), x, "tflm").output, demo_model(), x, runtime="tflm")
    """
    __tracebackhide__ = True  # pytest then points at the caller's line
    loaded = load(model)
    trace = run(loaded, x, runtime)
    wanted = trace.output
    found = with_batch(np.asarray(fn_or_array(x) if callable(fn_or_array) else fn_or_array), wanted.shape)
    difference = compare_arrays(wanted, found)
    if not difference:
        return
    name = trace.prepared.runtime.name
    lines = [f"not bit-exact with {name} on {loaded.source}"]
    if goes_by_cpu(runtime):
        lines.append(
            f"{name} was taken because no runtime is named; another CPU takes another one. "
            f"Name it in the test: runtime={name!r}"
        )
    lines += [difference.text(wanted_name=name, found_name="yours")]
    last = trace.prepared.operators.get(len(loaded.operators) - 1)
    if difference.first is not None and last is not None and loaded.outputs[0].index == last.operator.outputs[0]:
        worked = worked_element(last, trace.tensors[last.inputs[0]], difference.first)
        if worked:
            lines += [f"How {name} gets {difference.wanted}:", *(f"  {line}" for line in worked)]
    raise AssertionError("\n".join(lines))
