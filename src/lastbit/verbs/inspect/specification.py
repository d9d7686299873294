"""Who refuses, ignores or follows what a file says against the specification: each runtime is asked, not remembered.

The operator is prepared twice for every runtime: as the file has it, and with the one tensor repaired. What is refused
only as it is, is refused for this reason. What gives the same outputs either way ignores it; the rest follows the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator, Tensor
from ...model.types import IntegerType
from ...ops.base import PreparedOperator
from ...ops.prepare import prepare_operator
from ...report.blocks import Block, Heading, Text
from ...report.phrases import Data, names_text
from ...runtimes import Runtime
from ...runtimes.base import Family
from .breaches import Breach, breaches

__all__ = ["specification_blocks", "specification_data"]

# Multiplications above which outputs are not compared; the preparation alone answers then.
_MOST_WORK = 1 << 24
# The steps of one element cost about as much as so many multiplications.
_ELEMENT = 32
_KIND_SHOWN = 3
_INPUTS = 4  # one where there is much work: then it has many elements
_FAMILIES: dict[str, str] = {
    Family.XNNPACK: "LiteRT with XNNPACK",
    Family.BUILTIN: "LiteRT's builtin kernels",
    Family.REFERENCE: "LiteRT's reference kernels",
    Family.TFLM: "TensorFlow Lite Micro",
    Family.CMSIS_NN: "CMSIS-NN",
    Family.ONNXRUNTIME: "ONNX Runtime",
    Family.FBGEMM: "PyTorch's fbgemm",
}


def specification_data(model: Model, op: int | None, runtimes: Sequence[Runtime]) -> list[dict[str, Any]]:
    """Every breach of the specification as plain data, with what each runtime does about it.

    Args:
        model: the model.
        op: the index of the main subgraph's one operator to check; None for all of all subgraphs.
        runtimes: the runtimes to ask.
    """
    if op is not None:
        return [_data(model, breach, runtimes, 0) for breach in breaches(model, [model.operator(op)])]
    found = []
    for number, graph in enumerate(model.subgraphs):
        view = replace(model, subgraphs=(graph,), faults=(), signatures=()) if number else model
        found += [_data(view, breach, runtimes, number) for breach in breaches(view)]
    return found


def _prepare(model: Model, op: Operator, runtime: Runtime) -> PreparedOperator | str:
    try:
        return prepare_operator(model, op, runtime)
    except UnsupportedError as error:
        return "; ".join(error.reasons) or str(error)


def _data(model: Model, breach: Breach, runtimes: Sequence[Runtime], subgraph: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "kind": breach.kind.value,
        "subgraph": subgraph,
        "operator": breach.operator.index,
        "name": breach.operator.name,
        "tensor": breach.tensor.index,
        "text": breach.text,
        "channels": list(breach.channels),
        "factor": breach.factor,
        "refused": [],
        "ignored": [],
        "followed": [],
        "notes": [],
    }
    if breach.repaired is None:
        return entry
    graph = model.subgraphs[0]
    tensors = tuple(breach.repaired if t.index == breach.tensor.index else t for t in graph.tensors)
    repaired = replace(model, subgraphs=(replace(graph, tensors=tensors), *model.subgraphs[1:]))
    families: dict[str, str] = {}
    refused: dict[str, list[str]] = {}
    notes: dict[str, list[str]] = {}
    same: dict[tuple[str, str], bool | None] = {}
    answers: dict[bool, list[str]] = {True: [], False: []}
    for runtime in runtimes:
        found = _prepare(model, breach.operator, runtime)
        wanted = _prepare(repaired, breach.operator, runtime)
        if isinstance(wanted, str):
            continue
        # A delegate's runtime stays one where the delegate leaves this operator to other kernels.
        families[runtime.name] = Family.XNNPACK if runtime.fallback is not None else wanted.kernel
        if isinstance(found, str):
            refused.setdefault(found, []).append(runtime.name)
            continue
        for note in found.notes:
            if note not in wanted.notes:
                notes.setdefault(note, []).append(runtime.name)
        key = found.rule, wanted.rule
        if key not in same:
            same[key] = _same_outputs(model, found, wanted)
        if (answer := same[key]) is not None:
            answers[answer].append(runtime.name)
    entry["refused"] = [{"reason": reason, "runtimes": names} for reason, names in refused.items()]
    entry["notes"] = [{"note": note, "runtimes": names} for note, names in notes.items()]
    entry["ignored"], entry["followed"] = answers[True], answers[False]
    entry["families"] = families
    return entry


def _same_outputs(model: Model, first: PreparedOperator, second: PreparedOperator) -> bool | None:
    """Whether two forms of an operator have the same steps for random inputs.

    None where that takes too long, or where no input of the declared shape fits the operator.
    """
    if first.inputs != second.inputs:
        return None
    work = _work(model, first)
    if work > _MOST_WORK:
        return None
    rng = np.random.default_rng(0)
    for _ in range(_INPUTS if work < _MOST_WORK // 16 else 1):
        values = [_random(rng, model.tensors[index]) for index in first.inputs]
        try:
            with np.errstate(all="ignore"):
                steps, others = first.evaluate(values), second.evaluate(values)
        except InputError:
            return None
        if steps.keys() != others.keys() or any(not _equal(value, others[key]) for key, value in steps.items()):
            return False
    return True


def _work(model: Model, prepared: PreparedOperator) -> int:
    """About how many multiplications one input costs."""
    outputs = [math.prod(model.tensors[index].shape) for index in prepared.operator.outputs]
    weights = model.operand(prepared.operator, 1)
    products = math.prod(weights.shape[1:]) if weights is not None and weights.data is not None else 1
    elements = outputs + [math.prod(model.tensors[index].shape) for index in prepared.inputs]
    return max(sum(outputs) * products, sum(elements) * _ELEMENT)


def _equal(first: Any, second: Any) -> bool:
    return np.asarray(first).tobytes() == np.asarray(second).tobytes()


def _random(rng: np.random.Generator, tensor: Tensor) -> Any:
    dtype = tensor.dtype
    if not isinstance(dtype, IntegerType):
        return rng.normal(size=tensor.shape).astype(dtype.numpy)
    return rng.integers(dtype.qmin, dtype.qmax, tensor.shape, endpoint=True).astype(dtype.numpy)


def specification_blocks(data: Data, full: bool) -> list[Block]:
    """What differs from the specification, worst things in words; `full` or the first of each kind."""
    found = data["specification"]
    if not found:
        return []
    blocks: list[Block] = [Heading("Against the quantization specification")]
    counts: dict[str, int] = {}
    for entry in found:
        counts[entry["kind"]] = counts.get(entry["kind"], 0) + 1
        if full or counts[entry["kind"]] <= _KIND_SHOWN:
            inner = f"subgraph {entry['subgraph']}, " if entry["subgraph"] else ""
            blocks.append(Text(f"{inner}operator {entry['operator']} {entry['name']}: {entry['text']}.", "warning"))
            blocks += [Text(f"  {line}") for line in _who(entry)]
    for kind, count in counts.items():
        if count > _KIND_SHOWN and not full:
            more = count - _KIND_SHOWN
            blocks.append(Text(f"{kind.replace('_', ' ')}: {more} more like it. --all-channels shows all.", "dim"))
    return blocks


def _who(entry: Data) -> list[str]:
    families = entry.get("families", {})
    lines = [f"Refused by {_names(part['runtimes'], families)}: {part['reason']}." for part in entry["refused"]]
    if entry["ignored"]:
        lines.append(f"Ignored by {_names(entry['ignored'], families)}: the same outputs as with what is wanted.")
    if entry["followed"]:
        lines.append(f"Calculated as the file says by {_names(entry['followed'], families)}.")
    return lines  # the notes stand under their own title


def _names(names: Sequence[str], families: Mapping[str, str]) -> str:
    """Runtimes in few words: a kernel family's title where all of its members are among them."""
    parts: list[str] = []
    rest = list(names)
    for kernel in dict.fromkeys(families.values()):
        family = [name for name, own in families.items() if own == kernel]
        if len(family) <= len(rest) and set(family) <= set(rest):
            parts.append(_FAMILIES.get(kernel, kernel))
            rest = [name for name in rest if name not in family]
    shown = [*parts, *rest]
    return ", ".join(shown) if parts else names_text(shown)
