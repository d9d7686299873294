"""whence: which runtime printed these numbers?"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .api import load
from .differences import Difference, compare_arrays, worked_element
from .engines import reference
from .errors import InputError, UnsupportedError
from .layer_input import dense_operator, layer_input
from .model import Model, Operator, Tensor
from .ops.base import PreparedOperator
from .ops.dense_8bit import PreparedDense
from .ops.dense_layer import dense_layer
from .prepare import PreparedModel, prepare, prepare_operator
from .probing import tie_seeking_inputs
from .report import Block, Code, Heading, Report, Table, Text
from .runtimes import Runtime
from .types import Array
from .version_groups import VersionGroup, spans, version_groups

__all__ = ["Attribution", "Candidate", "whence"]

SEPARATING_ATTEMPTS = 256
"""Inputs tried, at most, to tell the runtimes apart that are left."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One runtime held against the numbers.

    Attributes:
        runtime: the runtime.
        difference: how its output and the numbers differ; None where it cannot run the model or layer.
        refusal: why it cannot, else empty.
        worked: the first element that excludes it, worked out in its arithmetic.
        versions: the versions that were run and calculate this the same way.
    """

    runtime: Runtime
    difference: Difference | None
    refusal: str
    worked: tuple[str, ...]
    versions: tuple[str, ...] = ()

    @property
    def stands_for(self) -> str:
        """The real interpreter, and the versions of it that print the same."""
        return self.runtime.oracle + (f"; the same in {spans(self.versions)}" if self.versions else "")

    @property
    def status(self) -> str:
        """`reproduces all`, `excluded` or `cannot run it`."""
        if self.difference is None:
            return "cannot run it"
        return "excluded" if self.difference else "reproduces all"


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Report):
    """The result of `whence`.

    Attributes:
        source: the model's path.
        subject: what was compared: the model's output or one layer's.
        size: output elements.
        candidates: every runtime.
        groups: the runtimes that are left, those that cannot be told apart on these data by any input tried together.
        separating_input: an input on which the groups differ, in the dtype and shape that `-i` takes; None where there
            is one group only or no input was found.
        separating_outputs: for each group, what it prints for that input.
    """

    source: str
    subject: str
    size: int
    candidates: tuple[Candidate, ...]
    groups: tuple[tuple[str, ...], ...]
    separating_input: Array | None
    separating_outputs: tuple[Array, ...]

    @property
    def exit_code(self) -> int:
        """0: some runtime reproduces all numbers. 1: none does. 3: none can run it."""
        if self.groups:
            return 0
        return 1 if any(c.difference is not None for c in self.candidates) else 3

    def as_dict(self) -> dict[str, Any]:
        """The attribution as plain data, schema lastbit.whence/1."""
        return {
            "schema": "lastbit.whence/1",
            "model": self.source,
            "subject": self.subject,
            "elements": self.size,
            "runtimes": [
                {
                    "name": c.runtime.name,
                    "oracle": c.runtime.oracle,
                    "platform": c.runtime.platform,
                    "versions": list(c.versions),
                    "status": c.status,
                    "refusal": c.refusal,
                    "difference": None if c.difference is None else c.difference.as_dict(),
                    "worked": list(c.worked),
                }
                for c in self.candidates
            ],
            "left": [list(group) for group in self.groups],
            "separating_input": None if self.separating_input is None else self.separating_input.tolist(),
            "separating_outputs": [output.tolist() for output in self.separating_outputs],
        }

    def in_short(self) -> list[str]:
        """What is left."""
        first = self._verdict()[0]
        assert isinstance(first, Text)
        return [first.text, f"{self.subject}, {self.size} elements, of {self.source}"]

    def blocks(self) -> list[Block]:
        """The table of runtimes, the first element that excludes each, and what would separate those left."""
        rows = []
        for c in self.candidates:
            d = c.difference
            share = "" if d is None else f"{d.mismatched} of {d.elements}"
            first = "" if d is None or d.first is None else f"{list(d.first)}: it prints {d.found}, given {d.wanted}"
            rows.append((c.runtime.name, c.status, share, first or c.refusal, c.stands_for))
        blocks: list[Block] = [
            Heading(f"Who printed these numbers? {self.subject} of {self.source}, {self.size} elements"),
            Table(("runtime", "", "differ", "first element that excludes it", "stands for"), rows, right=("differ",)),
        ]
        near: dict[tuple[str, ...], list[str]] = {}
        for c in self.candidates:
            if c.worked and c.difference is not None and c.difference.mismatched * 20 <= c.difference.elements:
                # Near misses are worth a look; a runtime that differs everywhere is not.
                near.setdefault(c.worked, []).append(c.runtime.name)
        for worked, names in near.items():
            blocks += [Text(f"How {', '.join(names)} got there:"), Code("\n".join(worked))]
        return blocks + self._verdict()

    def _verdict(self) -> list[Block]:
        if not self.groups:
            return [
                Text(
                    "No runtime that LastBit knows prints these numbers. If they come from your own implementation, "
                    "`lastbit diagnose` names the mistake.",
                    "bad",
                )
            ]
        names = " / ".join(", ".join(group) for group in self.groups)
        blocks: list[Block] = [Text(f"Left: {names}", "good")]
        if any(len(group) > 1 for group in self.groups):
            blocks.append(
                Text("Runtimes named together follow the same rules here, or no input tried tells them apart.")
            )
        if self.separating_input is not None:
            given = f"input {list(self.separating_input.shape)}: {self.separating_input.ravel().tolist()}"
            outputs = [
                f"{', '.join(group)}: {output.ravel().tolist()}"
                for group, output in zip(self.groups, self.separating_outputs, strict=True)
            ]
            blocks += [
                Text("Run this input to tell them apart (`--separating FILE` writes it):"),
                Code("\n".join(_cut(text) for text in (given, *outputs))),
            ]
        elif len(self.groups) > 1:
            blocks.append(Text("No input was found that tells them all apart."))
        return blocks


def whence(
    model: str | os.PathLike[str] | bytes | Model,
    x: Any,
    output: Any,
    op: int | None = None,
    runtimes: Sequence[Runtime] | None = None,
) -> Attribution:
    """Find the runtimes that print exactly these numbers for this input.

    Args:
        model: a Model, a path or a file's bytes.
        x: the input, as `lastbit.run` takes it; with `op` it may be the layer's own.
        output: the numbers: the model's first output, or with `op` that dense layer's output. Dtype and size must be
            the tensor's own; the shape may differ.
        op: the index of a dense layer; None for the whole model.
        runtimes: which to consider; default all of LastBit's, and the older versions that calculate this otherwise.

    Returns:
        The Attribution: what is left, what is excluded and by which element, and an input that would separate the rest.

    Raises:
        ModelError: the model is malformed.
        InputError: an array does not fit.
    """
    loaded = load(model)
    alone = len(loaded.operators) == 1 and len(loaded.dense_operators) == 1
    operator = dense_operator(loaded, op) if op is not None or alone else None
    tensor = loaded.outputs[0] if operator is None else loaded.tensors[operator.outputs[0]]
    given = _check_output(tensor, np.asarray(output))
    if runtimes is None:
        groups = version_groups(loaded, loaded.operators if operator is None else [operator])
    else:
        groups = [VersionGroup(runtime, ()) for runtime in runtimes]
    chosen = [group.runtime for group in groups]
    if operator is not None:
        subject = f"output of {operator.label}"
        candidates = [_layer_candidate(loaded, operator, runtime, x, given) for runtime in chosen]
    else:
        subject = f"output {tensor.label}"
        candidates = [_model_candidate(loaded, runtime, x, given) for runtime in chosen]
    candidates = [replace(c, versions=group.versions) for c, group in zip(candidates, groups, strict=True)]
    left = [c.runtime for c in candidates if c.status == "reproduces all"]
    if len(left) < 2:
        separation = _Separation(tuple((r.name,) for r in left))
    elif operator is not None:
        separation = _separate_layer(loaded, operator, left)
    else:
        separation = _separate_model(loaded, left)
    return Attribution(
        loaded.source,
        subject,
        given.size,
        tuple(candidates),
        separation.groups,
        separation.value,
        separation.outputs,
    )


def _check_output(tensor: Tensor, given: Array) -> Array:
    if given.dtype != tensor.dtype.numpy:
        hint = " (real values say nothing about the last bit: save the integers)" if given.dtype.kind == "f" else ""
        raise InputError(
            f"the numbers are {given.dtype}, but output {tensor.label} is {tensor.dtype.name}; "
            f"wanted its own dtype{hint}"
        )
    return given


def _difference(ours: Array, given: Array, where: str) -> Difference:
    """The numbers against one runtime's output; their shape may differ, their size may not."""
    if ours.size != given.size:
        raise InputError(
            f"found {given.size} numbers of shape {list(given.shape)} for {where}; "
            f"wanted {ours.size} of shape {list(ours.shape)}"
        )
    return compare_arrays(given.reshape(ours.shape), ours)


def _layer_candidate(model: Model, op: Operator, runtime: Runtime, x: Any, given: Array) -> Candidate:
    try:
        prepared = prepare_operator(model, op, runtime)
    except UnsupportedError as error:
        return Candidate(runtime, None, "; ".join(error.reasons), ())
    values, _ = layer_input(model, dense_layer(model, op), x, runtime)
    difference = _difference(prepared.evaluate([values])["output"], given, op.label)
    worked = worked_element(prepared, values, difference.first) if difference.first is not None else []
    return Candidate(runtime, difference, "", tuple(worked))


def _model_candidate(model: Model, runtime: Runtime, x: Any, given: Array) -> Candidate:
    prepared = prepare(model, runtime)
    if prepared.refusals:
        index, reason = next(iter(prepared.refusals.items()))
        more = f" and {len(prepared.refusals) - 1} more" if len(prepared.refusals) > 1 else ""
        return Candidate(runtime, None, f"{model.operators[index].label}: {reason}{more}", ())
    trace = reference.run(prepared, _as_inputs(model, x))
    difference = _difference(trace.output, given, f"output {model.outputs[0].label}")
    return Candidate(runtime, difference, "", ())


def _as_inputs(model: Model, x: Any) -> Any:
    several = isinstance(x, dict) or (isinstance(x, Sequence) and len(model.inputs) > 1)
    return x if several else [x]


@dataclass(frozen=True, eq=False)
class _Separation:
    """Runtimes grouped by what they print, the input that shows it, and each group's output for it."""

    groups: tuple[tuple[str, ...], ...]
    value: Array | None = None
    outputs: tuple[Array, ...] = ()


def _separate_layer(model: Model, op: Operator, left: Sequence[Runtime]) -> _Separation:
    """Inputs of the layer at which the runtimes that are left differ: solved where random ones would not do."""
    prepared = [prepare_operator(model, op, runtime) for runtime in left]
    layer = dense_layer(model, op)
    rng = np.random.default_rng(0)
    dtype = layer.input.dtype
    rows = np.zeros((0, layer.depth), dtype.numpy)
    first = prepared[0]
    if all(isinstance(p, PreparedDense) for p in prepared) and isinstance(first, PreparedDense):
        params = {r.name: p.requant for r, p in zip(left, prepared, strict=True) if isinstance(p, PreparedDense)}
        rows, _ = tie_seeking_inputs(layer, params, SEPARATING_ATTEMPTS, rng)
    shape = tuple(max(n, 1) for n in layer.input.shape)
    per_input = int(np.prod(shape)) // layer.depth
    inputs = [np.resize(row, (per_input, layer.depth)).reshape(shape) for row in rows]
    return _group(left, inputs, [partial(_layer_output, p) for p in prepared])


def _separate_model(model: Model, left: Sequence[Runtime]) -> _Separation:
    """Random inputs of the model at which the runtimes that are left differ."""
    prepared: list[PreparedModel] = [prepare(model, runtime) for runtime in left]
    rng = np.random.default_rng(0)
    if len(model.inputs) != 1:
        return _Separation(tuple((r.name,) for r in left))
    tensor = model.inputs[0]
    shape = tuple(max(n, 1) for n in tensor.shape)
    inputs: list[Array] = []
    for _ in range(SEPARATING_ATTEMPTS):
        if tensor.dtype.qmin is not None and tensor.dtype.qmax is not None:
            inputs.append(rng.integers(tensor.dtype.qmin, tensor.dtype.qmax, shape, tensor.dtype.numpy, endpoint=True))
        else:
            inputs.append(rng.normal(0, rng.uniform(0.1, 10), shape).astype(np.float32))
    return _group(left, inputs, [partial(_model_output, p) for p in prepared])


def _group(
    left: Sequence[Runtime], inputs: Sequence[Array], functions: Sequence[Callable[[Array], Array]]
) -> _Separation:
    """Group runtimes by their outputs on all inputs tried; the input that tells most groups apart is kept."""
    best: tuple[int, Array | None] = (1, None)
    signatures: list[list[bytes]] = [[] for _ in left]
    for value in inputs:
        outputs = [function(value).tobytes() for function in functions]
        for signature, output in zip(signatures, outputs, strict=True):
            signature.append(output)
        if len(set(outputs)) > best[0]:
            best = len(set(outputs)), value
    members: dict[tuple[bytes, ...], list[int]] = {}
    for index, signature in enumerate(signatures):
        members.setdefault(tuple(signature), []).append(index)
    groups = tuple(tuple(left[i].name for i in group) for group in members.values())
    if best[1] is None:
        return _Separation(groups)
    return _Separation(groups, best[1], tuple(functions[group[0]](best[1]) for group in members.values()))


def _layer_output(prepared: PreparedOperator, value: Array) -> Array:
    return prepared.evaluate([value])["output"]


def _model_output(prepared: PreparedModel, value: Array) -> Array:
    return reference.run(prepared, [value]).output


def _cut(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[:limit] + " ..."
