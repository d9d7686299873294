"""Two graphs side by side in canonical form: what computes, in one order, without names and numbering.

QUANTIZE and DEQUANTIZE operators that follow each other are put in the order of their sources: where one operator has
several outputs, TensorFlow orders them by memory addresses, so two runs of one converter differ there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from ...model.graph import Operator, Subgraph, Tensor
from ..quantize.operators import TRAITS

__all__ = ["Pair", "Pairing", "pair_graphs"]

_ADAPTERS = ("DEQUANTIZE", "QUANTIZE")


@dataclass(frozen=True, eq=False)
class Pair:
    """The same place of two graphs.

    Attributes:
        role: `input`, `weights`, `bias`, `constant`, `output`, `graph input` or `graph output`.
        where: the place in words; the operator's number is that of the first graph.
        first: the tensor there in the first graph; None where it is absent.
        second: the tensor there in the second graph.
        source_differs: whether the two come from different places.
    """

    role: str
    where: str
    first: Tensor | None
    second: Tensor | None
    source_differs: bool = False


@dataclass(frozen=True, eq=False)
class Pairing:
    """Two graphs side by side.

    Attributes:
        operators: pairs of the same operator.
        only_first: operators that only the first graph has.
        only_second: those that only the second has.
        tensors: the pairs of tensors, each once.
    """

    operators: tuple[tuple[Operator, Operator], ...]
    only_first: tuple[Operator, ...]
    only_second: tuple[Operator, ...]
    tensors: tuple[Pair, ...]


def settled(graph: Subgraph) -> list[Operator]:
    """The operators, with runs of QUANTIZE and DEQUANTIZE in one order."""
    place = {index: (-2, k) for k, index in enumerate(graph.inputs)}
    # Those of constants stand in the order of their first users.
    reads = [index for op in graph.operators if op.name not in _ADAPTERS for index in op.inputs]
    users = {index: (-1, number) for number, index in reversed(list(enumerate(reads)))}
    result: list[Operator] = []
    run: list[Operator] = []

    def flush() -> None:
        run.sort(key=lambda op: (place.get(op.inputs[0], users.get(op.outputs[0], (-1, len(reads)))), op.name))
        result.extend(run)
        run.clear()

    for op in graph.operators:
        adapter = op.name in _ADAPTERS and bool(op.inputs)
        if not adapter or {index for other in run for index in other.outputs} & set(op.inputs):
            flush()
        for position, index in enumerate(op.outputs):
            place[index] = (op.index, position)
        (run if adapter else result).append(op)
    flush()
    return result


def pair_graphs(first: Subgraph, second: Subgraph) -> Pairing:
    """Put two graphs side by side; operators that only one has are left out of the pairs."""
    orders = settled(first), settled(second)
    names = [[op.name for op in order] for order in orders]
    pairs: list[tuple[Operator, Operator]] = []
    for block in SequenceMatcher(None, names[0], names[1], autojunk=False).get_matching_blocks():
        pairs += zip(orders[0][block.a : block.a + block.size], orders[1][block.b : block.b + block.size], strict=True)
    known = {op.index for op, _ in pairs}, {op.index for _, op in pairs}
    rest = [tuple(op for op in order if op.index not in have) for order, have in zip(orders, known, strict=True)]
    return Pairing(tuple(pairs), rest[0], rest[1], tuple(_once(_tensor_pairs(first, second, pairs, rest))))


def _once(pairs: Iterator[Pair]) -> Iterator[Pair]:
    """Each pair of tensors once, unless its sources differ."""
    seen: set[tuple[int, int]] = set()
    for pair in pairs:
        key = (-1 if pair.first is None else pair.first.index, -1 if pair.second is None else pair.second.index)
        if key in seen and not pair.source_differs:
            continue
        seen.add(key)
        yield pair


def _tensor_pairs(
    first: Subgraph,
    second: Subgraph,
    pairs: list[tuple[Operator, Operator]],
    rest: list[tuple[Operator, ...]],
) -> Iterator[Pair]:
    # What a source is called in both graphs; None for what only one of them has.
    sources: tuple[dict[int, str | None], dict[int, str | None]] = ({}, {})
    for graph, own, left in zip((first, second), sources, rest, strict=True):
        own.update((index, f"graph input {k}") for k, index in enumerate(graph.inputs))
        own.update((index, None) for op in left for index in op.outputs)
    for number, both in enumerate(pairs):
        for op, own in zip(both, sources, strict=True):
            own.update((index, f"{number}.{k}") for k, index in enumerate(op.outputs))

    def pair(role: str, where: str, indices: tuple[int, int]) -> Pair:
        tensors = [
            graph.tensors[index] if index >= 0 else None for graph, index in zip((first, second), indices, strict=True)
        ]
        ends = [
            "absent" if index < 0 else own.get(index, "constant") for own, index in zip(sources, indices, strict=True)
        ]
        return Pair(role, where, tensors[0], tensors[1], None not in ends and ends[0] != ends[1])

    for k, indices in enumerate(zip(first.inputs, second.inputs, strict=False)):
        yield pair("graph input", f"graph input {k}", indices)
    for ours, theirs in pairs:
        for k, indices in enumerate(zip(ours.inputs, theirs.inputs, strict=False)):
            role = _role(first, ours, k)
            yield pair(role, f"{ours.label} {role if role != 'input' or not k else f'input {k}'}", indices)
        for k, indices in enumerate(zip(ours.outputs, theirs.outputs, strict=False)):
            yield pair("output", f"{ours.label} output" + (f" {k}" if len(ours.outputs) > 1 else ""), indices)
    for k, indices in enumerate(zip(first.outputs, second.outputs, strict=False)):
        yield pair("graph output", f"graph output {k}", indices)


def _role(graph: Subgraph, op: Operator, position: int) -> str:
    traits = TRAITS.get(op.name)
    if traits is not None and traits.is_weights(position):
        return "weights"
    if traits is not None and traits.is_bias(position):
        return "bias"
    index = op.inputs[position]
    return "constant" if index >= 0 and graph.tensors[index].data is not None else "input"
