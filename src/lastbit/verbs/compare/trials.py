"""Operators that have no table of steps: the same rule is a proof, else both runtimes are run on many inputs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...engines.element_tables import ELEMENTWISE
from ...engines.one_operator import OperatorRunner, outputs_of
from ...engines.reference import Trace
from ...layers.differences import compare_arrays
from ...model.errors import InputError, LastBitError, UnsupportedError
from ...model.graph import Model, Operator
from ...model.tflite.writer import extract_operator, write
from ...model.types import Array
from ...ops.prepare import PreparedModel, choose_rule
from ...ops.products.convolution import PreparedConvolution
from ...ops.work import products_of
from ...oracles import Oracle, OracleFailure
from .operator_inputs import KINDS, drawn, tie_images
from .operator_result import Example, OperatorComparison

__all__ = ["Limits", "OperatorTrials", "confirm_example"]

# Elements and products of one call: what lies between stays small.
_ELEMENTS = 1 << 16
_PRODUCTS = 1 << 24
# Calls that are made of an operator whatever its size: the network's own values, ties, and kinds of drawn ones.
_LEAST_CALLS = 4
_TIE_IMAGES = 256
# Outputs of an element-wise operator that are all calculated.
_EVERY_VALUE = 1 << 23
# Inputs that a kernel refuses, one after the other, before the operator is given up.
_REFUSED = 2 * KINDS


@dataclass(frozen=True)
class Limits:
    """When an operator has been run enough: whichever comes first.

    Attributes:
        outputs: output elements compared.
        seconds: seconds of calculation.
    """

    outputs: int = 1_000_000
    seconds: float = 10.0


class OperatorTrials:
    """The operators of a model in two runtimes.

    Args:
        sides: the model in each runtime's arithmetic.
        operators: those that will be compared.
        traces: runs of the whole model, whose tensors are the first inputs.
        limits: when an operator has been run enough.
        seed: of all drawn inputs.
    """

    def __init__(
        self,
        sides: tuple[PreparedModel, PreparedModel],
        operators: Sequence[Operator],
        traces: Sequence[Trace],
        limits: Limits,
        seed: int,
    ) -> None:
        self._sides = sides
        self._model = sides[0].model
        self._traces = traces
        self._limits = limits
        self._seed = seed
        tried = [op for op in operators if self._covered(op) and not self._same_rule(op)]
        work = sum(_work(self._model, op, limits) for op in tried)
        self._runners = OperatorRunner(sides[0], work), OperatorRunner(sides[1], work)

    def compare(self, op: Operator) -> OperatorComparison:
        """One operator: proved the same, or run in both runtimes, or not covered."""
        result = OperatorComparison(op.index, op.name)
        entries = [side.operators.get(op.index) for side in self._sides]
        result.rules = tuple("" if entry is None else entry.rule for entry in entries)  # type: ignore[assignment]
        result.refusals = tuple(side.refusals.get(op.index, "") for side in self._sides)  # type: ignore[assignment]
        if not self._covered(op):
            return result
        if self._same_rule(op):
            result.proof = "one rule for both runtimes"
            return result
        if self._every_value(op, result):
            return result
        refused, calls, end = 0, 0, math.inf
        for values in self._inputs(op):
            try:
                self._run(op, values, result)
            except LastBitError as error:
                refused += 1
                result.why = str(error) if not result.outputs else ""
                if refused >= _REFUSED:
                    break
                continue
            calls += 1
            now = time.monotonic()
            # The first call may compile.
            end = now + self._limits.seconds if calls == 1 else end
            if now >= end or (result.outputs >= self._limits.outputs and calls >= _LEAST_CALLS):
                break
            if not result.outputs and calls >= _LEAST_CALLS:
                break
        result.why = "" if result.outputs else result.why or "it has no outputs to compare"
        return result

    def _covered(self, op: Operator) -> bool:
        return all(op.index in side.operators for side in self._sides)

    def _same_rule(self, op: Operator) -> bool:
        """Whether both runtimes prepare the operator by one rule: then they do the same operations on it."""
        first, second = (choose_rule(self._model, op, side.runtime).name for side in self._sides)
        return first == second

    def _every_value(self, op: Operator, result: OperatorComparison) -> bool:
        """An operator from element to element of 8 bits: all 256 values at every place are all there is."""
        entries = [side.operators[op.index] for side in self._sides]
        if op.name not in ELEMENTWISE or len(entries[0].inputs) != 1:
            return False
        source = self._model.tensors[entries[0].inputs[0]]
        elements = math.prod(source.shape)
        if source.dtype.numpy not in (np.int8, np.uint8) or not source.shape or 256 * elements > _EVERY_VALUE:
            return False
        # 256 runs of the file's shape, each with one value at every place.
        values = np.arange(256, dtype=np.uint8).view(source.dtype.numpy)
        try:
            self._run(op, [np.repeat(values, elements).reshape(-1, *source.shape[1:])], result)
        except LastBitError:
            return False
        if result.outputs and not result.differing:
            result.proof = "all 256 values were tried at every place"
        return bool(result.outputs)

    def _run(self, op: Operator, values: Sequence[Array], result: OperatorComparison) -> None:
        """Both runtimes on the same inputs."""
        entries = [side.operators[op.index] for side in self._sides]
        made = [runner.outputs(entry, values) for runner, entry in zip(self._runners, entries, strict=True)]
        differences = [compare_arrays(*pair) for pair in zip(*made, strict=True)]
        if any(differences) and result.example is None:
            # What is shown is what the reference says.
            made = [outputs_of(entry, values) for entry in entries]
            differences = [compare_arrays(*pair) for pair in zip(*made, strict=True)]
            result.example = _example(self._model, op, values, made)
        for difference in differences:
            result.add(difference)

    def _inputs(self, op: Operator) -> Iterator[list[Array]]:
        """Values of the operator's computed inputs, without end: the network's own, ties, and drawn ones."""
        entries = [side.operators[op.index] for side in self._sides]
        indices = entries[0].inputs
        for trace in self._traces:
            if all(i in trace.tensors for i in indices):
                yield [trace.tensors[i] for i in indices]
        if not indices:
            return
        rng = np.random.default_rng([self._seed, op.index, 1])
        first, second = entries
        if (
            isinstance(first, PreparedConvolution)
            and isinstance(second, PreparedConvolution)
            and len(first.inputs) == 1
        ):
            yield from self._ties(op, (first, second), rng)
        size = self._samples_at_once(op)
        batch = size if size > 1 and self._takes_batches(op, rng) else 1
        number = 0
        while True:
            kinds = min(batch, KINDS)
            parts = [self._drawn(op, -(-batch // kinds), number + k, rng) for k in range(kinds)]
            number += kinds
            yield parts[0] if kinds == 1 else [np.concatenate(values) for values in zip(*parts, strict=True)]

    def _ties(
        self, op: Operator, pair: tuple[PreparedConvolution, PreparedConvolution], rng: np.random.Generator
    ) -> Iterator[list[Array]]:
        images = tie_images(pair, min(_TIE_IMAGES, max(4 * self._samples_at_once(op), 4)), rng)
        size = self._samples_at_once(op)
        for start in range(0, 0 if images is None else len(images), size):
            assert images is not None
            yield [images[start : start + size]]

    def _samples_at_once(self, op: Operator) -> int:
        """How many samples of the file's shape go into one call."""
        elements = _elements(self._model, op)
        products = products_of(self._model, op)
        return max(min(_ELEMENTS // max(elements, 1), _PRODUCTS // max(products, 1)), 1)

    def _drawn(self, op: Operator, count: int, number: int, rng: np.random.Generator) -> list[Array]:
        """Samples of each input; all of one kind, or each input of a kind of its own."""
        output = self._model.tensors[op.outputs[0]] if op.outputs else None
        quant = None if output is None else output.quant
        scale = 1.0 if quant is None else float(quant.scale.flat[0])
        tensors = [self._model.tensors[i] for i in self._sides[0].operators[op.index].inputs]
        same = bool(rng.integers(2))
        kinds = [number if same or k == 0 else int(rng.integers(KINDS)) for k in range(len(tensors))]
        return [drawn(tensor, count, kind, scale, rng) for tensor, kind in zip(tensors, kinds, strict=True)]

    def _takes_batches(self, op: Operator, rng: np.random.Generator) -> bool:
        """Whether two samples at once give what they give one by one, in both runtimes."""
        if any(not self._model.tensors[i].shape for i in self._sides[0].operators[op.index].inputs):
            return False
        single = [self._drawn(op, 1, 0, rng) for _ in range(2)]
        both = [np.concatenate(parts) for parts in zip(*single, strict=True)]
        try:
            for runner, side in zip(self._runners, self._sides, strict=True):
                entry = side.operators[op.index]
                apart = [runner.outputs(entry, values) for values in single]
                joined = [np.concatenate(parts) for parts in zip(*apart, strict=True)]
                if any(map(compare_arrays, joined, runner.outputs(entry, both))):
                    return False
        except (LastBitError, ValueError, IndexError):
            return False  # it takes its own shape only
        return True


def _elements(model: Model, op: Operator) -> int:
    return sum(math.prod(model.tensors[i].shape) for i in op.outputs)


def _work(model: Model, op: Operator, limits: Limits) -> float:
    """About how many products an operator's trials add up in one runtime."""
    elements = max(_elements(model, op), 1)
    return max(limits.outputs / elements, _LEAST_CALLS) * products_of(model, op)


def _example(model: Model, op: Operator, values: Sequence[Array], made: Sequence[Sequence[Array]]) -> Example | None:
    """The first element that differs, with the inputs of its sample alone."""
    for output, (first, second) in enumerate(zip(*made, strict=True)):
        difference = compare_arrays(first, second)
        if difference.first is None:
            continue
        index, inputs = difference.first, list(values)
        shape = model.tensors[op.outputs[output]].shape
        if shape and first.shape[0] != shape[0] and first.shape[0] % shape[0] == 0:
            sample = index[0] // shape[0]
            count = first.shape[0] // shape[0]
            inputs = [x[sample * (len(x) // count) : (sample + 1) * (len(x) // count)] for x in inputs]
            index = (index[0] % shape[0], *index[1:])
        return Example(inputs, output, index, first[difference.first].item(), second[difference.first].item())
    return None


def confirm_example(oracle: Oracle, model: Model, comparison: OperatorComparison) -> None:
    """Run the inputs that show a difference on a real interpreter, as a model of that operator alone."""
    example = comparison.example
    assert example is not None
    op = model.operators[comparison.index]
    try:
        graph = extract_operator(model, op)
        run = oracle.run(write(graph), [example.inputs], label=op.label)
        example.confirmed[oracle.name] = run.outputs[0][example.output][example.index].item()
    except OracleFailure as failure:
        example.confirmed[oracle.name] = f"did not run it: {failure.reason}"
    except (UnsupportedError, InputError) as error:
        example.confirmed[oracle.name] = f"was not asked: {error}"
