"""Every covered operator inside the whole model, on the tensors that the interpreter computed, and end to end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from ...engines import reference
from ...engines.one_operator import OperatorRunner
from ...layers.differences import compare_arrays
from ...layers.running import random_inputs
from ...model.errors import InputError, UnsupportedError
from ...model.graph import Model, Operator
from ...model.tflite.reader import load as load_tflite
from ...model.tflite.writer import extract_operator, with_outputs, write
from ...model.types import Array
from ...ops.prepare import PreparedModel, prepare_operator
from ...ops.work import products_of
from ...oracles import Oracle, OracleFailure, OracleRefusal
from .comparing import compare_outputs, failed, kernel_seen, refused_alone
from .result import Comparison, OperatorResult, RuntimeResult

__all__ = ["WholeModelCheck", "whole_model_samples"]

# Whole models are run on fewer inputs than layers: every operator sees all of them.
_MOST_SAMPLES = 8
# Outputs of all operators together that are compared in one runtime; one input is run whatever it has.
_OUTPUTS = 32_000_000


def whole_model_samples(model: Model, samples: int, given: int = 0) -> int:
    """How many inputs of a whole model are run: no more than asked for, and fewer of large models.

    Args:
        model: the model.
        samples: as many as asked for.
        given: how many the user gave; 0 where they are random.
    """
    outputs = sum(math.prod(model.tensors[i].shape) for op in model.operators for i in op.outputs)
    return max(min(samples, given or _MOST_SAMPLES, _OUTPUTS // max(outputs, 1)), 1)


class WholeModelCheck:
    """A whole model in one runtime.

    Args:
        prepared: the model in the runtime's arithmetic.
        samples: inputs that are run.
        seed: of the inputs.
        runtimes: how many runtimes are compared, which decides whether compiled code is worth loading.
        results: operator index -> where comparisons go.
        given: the user's own inputs, one list for each; empty for random ones.
    """

    def __init__(
        self,
        prepared: PreparedModel,
        samples: int,
        seed: int,
        runtimes: int,
        results: Mapping[int, OperatorResult],
        given: Sequence[Sequence[Array]] = (),
    ) -> None:
        self._given = given
        self._prepared = prepared
        self._model = prepared.model
        self._samples = samples
        self._seed = seed
        self._results = results
        once = sum(products_of(self._model, entry.operator) for entry in prepared.operators.values())
        self._runner = OperatorRunner(prepared, samples * runtimes * once)
        fed = {t.index for t in self._model.inputs}
        needed = (i for entry in prepared.operators.values() for i in (*entry.inputs, *entry.operator.outputs))
        seen = (i for i in needed if i not in fed and self._model.tensors[i].dtype.numpy is not None)
        self._wanted = list(dict.fromkeys(seen))

    @cached_property
    def _content(self) -> bytes:
        """The model's file with every tensor as an output that covered operators read or write."""
        content = bytes(self._model.content)
        return with_outputs(content, self._wanted) if self._wanted else content

    @property
    def steps(self) -> int:
        """How many steps `run` takes at most."""
        return max(self._samples * (len(self._prepared.operators) + 2), len(self._model.operators) + 1)

    def run(self, oracle: Oracle, result: RuntimeResult) -> Iterator[str]:
        """Compare; yields what comes next."""
        rng = np.random.default_rng([self._seed, 2**20])
        comparisons = {index: Comparison("in the whole model") for index in self._prepared.operators}
        try:
            if self._prepared.keeps_state:
                yield from self._stream(oracle, rng, comparisons, result)
            for number in range(0 if self._prepared.keeps_state else self._samples):
                which = f"whole model, input {number + 1} of {self._samples}"
                inputs = self._inputs(number, rng)
                yield f"{which}: the interpreter runs"
                (tensors,) = self._run_oracle(oracle, [inputs], comparisons)
                for index in self._prepared.operators:
                    yield f"{which}: {self._model.operators[index].label}"
                    self._compare(index, tensors, comparisons[index])
                result.samples += 1
                yield f"{which}: end to end"
                self._end_to_end(oracle, inputs, tensors, comparisons.values(), result)
        except OracleRefusal as refusal:
            result.whole_model_note = f"{oracle.name} does not run the whole model: {refusal.reason}"
            yield from self._one_by_one(oracle, rng)
        except UnsupportedError as error:  # its outputs cannot be replaced
            result.whole_model_note = str(error)
        except OracleFailure as failure:
            result.died = str(failure)
            result.whole_model_note = f"{oracle.name} did not finish the whole model: its process {failure.reason}"
        for index, comparison in comparisons.items():
            if comparison.outputs or comparison.kernel_problem:
                self._results[index].comparisons.append(comparison)

    def _stream(
        self, oracle: Oracle, rng: np.random.Generator, comparisons: Mapping[int, Comparison], result: RuntimeResult
    ) -> Iterator[str]:
        """A model that keeps state: one interpreter, all inputs one after the other."""
        yield f"whole model, {self._samples} inputs one after the other: the interpreter runs"
        calls = [self._inputs(number, rng) for number in range(self._samples)]
        state = dict(self._prepared.state)
        for number, tensors in enumerate(self._run_oracle(oracle, calls, comparisons)):
            yield f"whole model, input {number + 1} of {self._samples}: its operators"
            tensors |= state
            for index, entry in self._prepared.operators.items():
                self._compare(index, tensors, comparisons[index])
                if entry.writes:
                    state[entry.writes[0]] = tensors[entry.writes[0]] = tensors[entry.inputs[0]]
            result.samples += 1
        yield "whole model: end to end"
        self._stream_end_to_end(oracle, calls, result)

    def _stream_end_to_end(self, oracle: Oracle, calls: Sequence[Sequence[Array]], result: RuntimeResult) -> None:
        if self._prepared.refusals:
            return
        try:
            run = oracle.run(bytes(self._model.content), calls, label="the whole model")
        except OracleFailure as failure:
            result.end_to_end = failed("end to end", failure)
            return
        result.end_to_end = Comparison("end to end", kernel=kernel_seen(run))
        state: Mapping[int, Array] | None = None
        for inputs, outputs in zip(calls, run.outputs, strict=True):
            trace = reference.run(self._prepared, inputs, state=state)
            state = trace.state
            for theirs, ours in zip(outputs, trace.outputs, strict=True):
                result.end_to_end.add(compare_arrays(theirs, ours))

    def _inputs(self, number: int, rng: np.random.Generator) -> Sequence[Array]:
        return self._given[number] if self._given else random_inputs(self._model, rng)

    def _run_oracle(
        self, oracle: Oracle, calls: Sequence[Sequence[Array]], comparisons: Mapping[int, Comparison]
    ) -> list[dict[int, Array]]:
        """For each call every tensor that covered operators read and write, as the interpreter computed it."""
        run = oracle.run(self._content, calls, label="the whole model")
        for index, comparison in comparisons.items():
            comparison.kernel = kernel_seen(run, index)
            if run.delegated_operators is not None and not self._results[index].silent:
                comparison.add_kernel_check(self._prepared.operators[index].kernel, index in run.delegated_operators)
        fed = [t.index for t in self._model.inputs]
        return [
            {**dict(zip(fed, inputs, strict=True)), **dict(zip(self._wanted, outputs, strict=False))}
            for inputs, outputs in zip(calls, run.outputs, strict=True)
        ]

    def _compare(self, index: int, tensors: Mapping[int, Array], comparison: Comparison) -> None:
        entry = self._prepared.operators[index]
        if self._results[index].silent:
            return
        values = [tensors[i] for i in entry.inputs]
        theirs = [tensors[i] for i in entry.operator.outputs]
        compare_outputs(comparison, entry, values, theirs, self._runner.outputs(entry, values))

    def _end_to_end(
        self,
        oracle: Oracle,
        inputs: Sequence[Array],
        tensors: Mapping[int, Array],
        comparisons: Iterable[Comparison],
        result: RuntimeResult,
    ) -> None:
        """The unchanged model from its inputs to its outputs, where every operator is covered."""
        if self._prepared.refusals:
            return
        try:
            run = oracle.run(bytes(self._model.content), [inputs], label="the whole model")
        except OracleFailure as failure:
            result.end_to_end = failed("end to end", failure)
            return
        if result.end_to_end is None:
            result.end_to_end = Comparison("end to end", kernel=kernel_seen(run))
        if any(comparison.mismatches for comparison in comparisons):
            tensors = reference.run(self._prepared, inputs).tensors
        # Else every operator gives the interpreter's tensors from the interpreter's tensors: LastBit's own way from the
        # inputs goes through the same ones.
        for tensor, theirs in zip(self._model.outputs, run.outputs[0], strict=True):
            ours = tensors.get(tensor.index, tensor.data)
            if ours is not None:
                result.end_to_end.add(compare_arrays(theirs, ours))

    def _one_by_one(self, oracle: Oracle, rng: np.random.Generator) -> Iterator[str]:
        """The interpreter refuses the model: which operators are it that it refuses, and the others compared alone."""
        for op in self._model.operators:
            result = self._results[op.index]
            if result.comparisons or result.refused_by_oracle:
                continue
            yield f"{op.label} alone"
            if op.index in self._prepared.refusals:
                refused_alone(oracle, self._model, op, result)
            else:
                self._alone(oracle, op, rng)

    def _alone(self, oracle: Oracle, op: Operator, rng: np.random.Generator) -> None:
        """A covered operator as a model of its own, on random inputs."""
        what = "cut out"
        try:
            content = write(extract_operator(self._model, op))
            model = load_tflite(content)
            entry = prepare_operator(model, model.operators[0], self._prepared.runtime)
        except (UnsupportedError, InputError):
            return  # it cannot be cut out: it stays a gap
        inputs = random_inputs(model, rng)
        try:
            run = oracle.run(content, [inputs], label=op.label)
        except OracleFailure as failure:
            self._results[op.index].comparisons.append(failed(what, failure))
            return
        comparison = Comparison(what, kernel=kernel_seen(run))
        comparison.add_kernel_check(entry.kernel, run.delegated)
        tensors = dict(zip((t.index for t in model.inputs), inputs, strict=True))
        compare_outputs(comparison, entry, [tensors[i] for i in entry.inputs], run.outputs[0])
        self._results[op.index].comparisons.append(comparison)
