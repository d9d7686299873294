"""A model built for one runtime and one engine: weights packed once, then called with as many inputs as one likes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..model.errors import InputError
from ..model.html import few_lines
from ..model.types import Array
from ..ops.dense.gemv_or_gemm import PreparedByRows
from ..ops.prepare import PreparedModel
from . import reference
from .cut import make_steps
from .inputs import Inputs, as_inputs, check_input, match_inputs
from .plan import Backend, ChainStep, OperatorStep, Planned, Step
from .reference import OperatorTrace, Trace, joined, samples_of

__all__ = ["Executable"]


class Executable:
    """A model ready to be called. Made by `lastbit.build`.

    Calls may come from several threads at once, except where the model keeps state between calls: there each call goes
    on where the last one ended, the samples of a batch one after the other, and `reset` begins a new stream. It gives
    exactly what the reference engine gives.

    Attributes:
        prepared: the prepared model.
        engine: `reference`, `numpy` or `jit`.
        threads: threads that share the rows of one call (`jit` only; BLAS has its own).
        one_by_one: whether each sample is calculated as if it came alone. A few runtimes calculate a batch of one in
            another way than a larger one.
    """

    def __init__(self, prepared: PreparedModel, engine: str, threads: int = 1, *, one_by_one: bool = False) -> None:
        prepared.require_all()
        if threads < 1:
            raise InputError(f"found {threads} threads, wanted 1 or more")
        self.prepared = prepared
        self.engine = engine
        self.threads = threads
        self.one_by_one = one_by_one and engine != "reference"
        model = prepared.model
        self._inputs = model.inputs
        self._outputs = tuple(tensor.index for tensor in model.outputs)
        self._by_rows = any(isinstance(entry, PreparedByRows) for entry in prepared.operators.values())
        self._plans: dict[bool, Planned] = {}
        assigned = (index for entry in prepared.operators.values() for index in entry.writes or ())
        self._kept = frozenset((*prepared.state, *assigned))
        self._backend: Backend | None = None
        if engine != "reference":
            self._backend = _backend(engine)
            self._plan(False)
        # Models that are one chain are called without any detour, once an input's shape is known to fit.
        steps = self.steps
        single = len(steps) == 1 and isinstance(steps[0], ChainStep) and not self._by_rows
        self._chain = None
        if single and isinstance(steps[0], ChainStep) and self._outputs == (steps[0].end,):
            self._chain = steps[0]
        self._state: dict[int, Array] = {}
        self.reset()
        kind = self._inputs[0].dtype.numpy if self._inputs else None
        self._dtype = None if kind is None else np.dtype(kind)

    def __repr__(self) -> str:
        runtime, source = self.prepared.runtime.name, self.prepared.model.source
        return few_lines(["Executable(", f"{source!r}, {runtime}, engine {self.engine}, threads {self.threads})"])

    def reset(self) -> None:
        """Begin a new stream: the model's variables hold what they hold before the first call."""
        self._state = dict(self.prepared.state)

    def _plan(self, one_row: bool) -> Planned:
        one_row = (one_row or self.one_by_one) and self._by_rows
        if one_row not in self._plans:
            assert self._backend is not None
            kept = self._kept.union(self._outputs, (tensor.index for tensor in self._inputs))
            self._plans[one_row] = Planned.of(make_steps(self.prepared, self._backend, one_row), kept)
        return self._plans[one_row]

    @property
    def steps(self) -> list[Step]:
        """How the model is run: chains of operators, and operators alone. Empty for the reference engine."""
        return self._plan(False).steps if self._backend is not None else []

    @property
    def as_reference(self) -> dict[str, str]:
        """The operators that run as the reference does since the engine lacks something of their rule, and what."""
        alone = (step for step in self.steps if isinstance(step, OperatorStep))
        return {step.entry.operator.label: step.lacking for step in alone if step.lacking}

    def __call__(self, x: Any) -> Array:
        """The first (usually only) output for one input array, or for several as `outputs` takes them."""
        chain = self._chain
        if chain is not None and type(x) is np.ndarray:
            known = chain.shapes.get(x.shape)
            if known is not None and x.dtype is self._dtype and x.flags.c_contiguous:
                y = chain.chain(x, self.threads)
                return y.reshape(known[0]) if known[1] else y
        return self.outputs(x)[0]

    def outputs(self, x: Any) -> tuple[Array, ...]:
        """All outputs, in the model's order.

        Args:
            x: the input array of a model with one input; else a sequence in the model's order, or a mapping from
                tensor index or name.

        Raises:
            InputError: an input is missing or does not fit its tensor.
        """
        tensors = self._run(as_inputs(self.prepared.model, x))
        return tuple(tensors[index] for index in self._outputs)

    def trace(self, inputs: Inputs, progress: Callable[[int, int, str], None] | None = None) -> Trace:
        """Inputs and outputs as a Trace, which has no steps.

        Args:
            inputs: one array for each of the model's inputs, in order, or a mapping.
            progress: told steps done, steps in all, and nothing more.

        Raises:
            InputError: an input is missing or does not fit its tensor.
        """
        tensors = self._run(inputs, progress)
        kept = {tensor.index for tensor in (*self._inputs, *self.prepared.model.outputs)}
        operators = {index: OperatorTrace(entry, {}, self.engine) for index, entry in self.prepared.operators.items()}
        return Trace(self.prepared, {i: value for i, value in tensors.items() if i in kept}, operators)

    def _run(self, inputs: Inputs, progress: Callable[[int, int, str], None] | None = None) -> dict[int, Array]:
        if self._backend is None:
            trace = reference.run(self.prepared, inputs, progress=progress, state=self._state)
            self._state = dict(trace.state)
            return dict(trace.tensors)
        pairs = match_inputs(self.prepared.model, inputs)
        given = {tensor.index: check_input(tensor, value) for tensor, value in pairs}
        if not self.prepared.keeps_state:
            return self._run_once(given, progress)
        calls = []
        for sample in samples_of(self.prepared.model, given):
            calls.append(self._run_once({**sample, **self._state}, progress))
            self._state = {index: calls[-1][index] for index in self._kept if index in calls[-1]}
        return joined(calls)

    def _run_once(
        self, given: Mapping[int, Array], progress: Callable[[int, int, str], None] | None
    ) -> dict[int, Array]:
        tensors = dict(given)
        batch = next(iter(tensors.values())).shape[:1] if self._inputs else (1,)
        tensors |= self.prepared.constants
        plan = self._plan(batch == (1,))
        for done, (step, unread) in enumerate(zip(plan.steps, plan.unread, strict=True)):
            if progress is not None:
                progress(done, len(plan.steps), "")
            step.run(tensors, self.threads)
            for index in unread:
                tensors.pop(index, None)
        return tensors


def _backend(engine: str) -> Backend:
    if engine == "numpy":
        return Backend()
    from .jit.backend import JitBackend

    return JitBackend()
