"""For your own tests: assert that an implementation equals a real runtime's arithmetic, to the last bit."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .engines.inputs import with_batch
from .engines.reference import Trace
from .layers.differences import Difference, compare_arrays, worked_element
from .layers.step_tables import LAYERS
from .model.errors import InputError, LastBitError
from .model.graph import Model, Operator
from .model.types import Array
from .runtimes import DEFAULT_RUNTIME, Runtime, get_runtime, goes_by_cpu
from .verbs.diagnose.verb import diagnose
from .verbs.run.verb import load, run

__all__ = ["assert_bitexact"]

# What a mapping of arrays may hold.
_ARRAYS = {"output", "acc", "scaled"}
# Mistakes in an array that are searched together: three take several times as long, which a failing test need not.
_MOST = 2


def assert_bitexact(
    fn_or_array: Callable[..., Any] | Any,
    model: str | os.PathLike[str] | bytes | Model,
    x: Any = None,
    runtime: str | Runtime = DEFAULT_RUNTIME,
    *,
    op: int | None = None,
    params: Mapping[str, str] | None = None,
) -> None:
    """Assert that an implementation prints what a runtime prints, of the whole model or of one operator.

    Args:
        fn_or_array: your output, a function that takes `x` and returns it, or whatever else `lastbit.diagnose` takes:
            a function that asks for weights, scales and zero points by name, or a mapping with the array `output` and
            those of `acc` and `scaled` that are known. Dtype and shape must be the output tensor's own; a batch
            dimension of 1 may be missing.
        model: a Model, a path or a file's bytes.
        x: the input, as `lastbit.run` takes it; with `op` it may be the layer's own. Only a function for one layer
            needs none: inputs are chosen then that tell known mistakes from what is right.
        runtime: the exact runtime or its name. Name it: the default is what `Interpreter(model)` does on the CPU that
            runs the test, which is another arithmetic on another CPU.
        op: the operator whose output it is; default: the model's first output, and of a function for one layer the
            first dense layer.
        params: what a function's parameters mean where their names do not say it, as `lastbit.diagnose` takes it.

    Raises:
        AssertionError: something differs. The message counts it, works the first bad element out by hand, and names
            the known mistakes that reproduce every element.
        LastBitError: the model, the input or the runtime is not usable.

    >>> import lastbit, numpy as np
    >>> from lastbit.verbs.demo.verb import demo_model
    >>> x = np.zeros((1, 16, 48), np.int8)
    >>> assert_bitexact(lambda x: lastbit.run(demo_model(), x, "tflm").output, demo_model(), x, runtime="tflm")
    """
    __tracebackhide__ = True  # pytest then points at the caller's line
    loaded = load(model)
    operator = None if op is None else loaded.operator(op)
    if isinstance(fn_or_array, Mapping) and fn_or_array.keys() == {"output"}:
        fn_or_array = fn_or_array["output"]
    code_of_layer = callable(fn_or_array) and (x is None or not _takes_only_x(fn_or_array))
    if code_of_layer or isinstance(fn_or_array, Mapping) or (operator is not None and operator.name in LAYERS):
        lines = _wrong_layer(fn_or_array, loaded, x, runtime, op, params)
    elif x is None:
        raise InputError("x is missing; give the input that the output was calculated from.")
    else:
        lines = _wrong_array(fn_or_array, loaded, x, runtime, operator)
    if lines:
        raise AssertionError("\n".join(lines))


def _takes_only_x(function: Callable[..., Any]) -> bool:
    """Whether a function is called with the input alone: the model's or one operator's."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return sum(p.default is p.empty and p.kind not in kinds for p in parameters) <= 1


def _wrong_layer(
    mine: Any, model: Model, x: Any, runtime: str | Runtime, op: int | None, params: Mapping[str, str] | None
) -> list[str]:
    """What is wrong with one layer, as diagnose tells it; empty where it is right."""
    steps = {}
    if isinstance(mine, Mapping) and mine.keys() <= _ARRAYS:
        steps = {key: value for key, value in mine.items() if key != "output"}
        mine = mine.get("output")
    report = diagnose(model, x, mine, op, runtime, params=params, **steps)
    return [] if report.exit_code == 0 else [*_head(model, runtime), *str(report).splitlines()]


def _wrong_array(mine: Any, model: Model, x: Any, runtime: str | Runtime, operator: Operator | None) -> list[str]:
    """What is wrong with an operator's output, or with the model's first; empty where it is right."""
    trace = run(model, x, runtime)
    wanted = trace.output if operator is None else trace.tensors[operator.outputs[0]]
    found = with_batch(np.asarray(mine(x) if callable(mine) else mine), wanted.shape)
    difference = compare_arrays(wanted, found)
    if not difference:
        return []
    name = trace.prepared.runtime.name
    lines = [*_head(model, runtime, name), difference.text(wanted_name=name, found_name="yours")]
    if operator is None:
        worked = _worked(trace, difference)
        lines += [f"How {name} gets {difference.wanted}:", *(f"  {line}" for line in worked)] if worked else []
        lines += _named(model, x, found, name)
    return lines


def _head(model: Model, runtime: str | Runtime, name: str = "") -> list[str]:
    name = name or get_runtime(runtime).name
    lines = [f"not bit-exact with {name} on {model.source}"]
    if goes_by_cpu(runtime):
        lines.append(
            f"{name} was taken because no runtime is named; another CPU takes a different one. "
            f"Name it in the test: runtime={name!r}"
        )
    return lines


def _worked(trace: Trace, difference: Difference) -> list[str]:
    """The first bad element by hand, where a dense layer prints the model's output."""
    model = trace.prepared.model
    last = trace.prepared.operators.get(len(model.operators) - 1)
    if difference.first is None or last is None or model.outputs[0].index != last.operator.outputs[0]:
        return []
    return worked_element(last, trace.tensors[last.inputs[0]], difference.first)


def _named(model: Model, x: Any, found: Array, runtime: str) -> list[str]:
    """The known mistakes that explain the output; empty where none do, or where it is not one that can be diagnosed."""
    try:
        report = diagnose(model, x, found, runtime=runtime, most=_MOST)
    except LastBitError:
        return []
    if report.verdict in ("right", "unexplained", "unreadable"):
        return []
    return ["What is wrong (lastbit diagnose):", *(f"  {line}" for line in str(report).splitlines())]
