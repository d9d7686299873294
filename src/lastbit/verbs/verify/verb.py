"""verify: compare each exact runtime with its real interpreter, operator by operator, on a user's own model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...model.errors import InputError, OracleError, OracleMissingError
from ...model.extras import install_text
from ...model.graph import Model, Operator
from ...model.types import Array
from ...ops.prepare import DENSE_ONLY, PreparedModel, prepare
from ...oracles import ORACLES, installed, is_library, open_oracle
from ...runtimes import RUNTIMES, Runtime, get_runtime
from ..run.verb import load
from .given import given_samples
from .layer import LayerChecks, LayerInputs
from .report import Verification
from .result import OperatorResult, RuntimeResult
from .whole_model import WholeModelCheck, whole_model_samples

__all__ = ["DEFAULT_SAMPLES", "verify"]

DEFAULT_SAMPLES = 64

Progress = Callable[[int, int, str], None]


def verify(
    model: str | os.PathLike[str] | bytes | Model,
    runtimes: Sequence[str | Runtime] | None = None,
    *,
    x: Any = None,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
    library: str | os.PathLike[str] | None = None,
    allow_gaps: bool = False,
) -> Verification:
    """Compare exact runtimes with their real interpreters on every operator of a model.

    Each dense layer is cut out as a one-operator model and run by the real interpreter on random, boundary and
    tie-seeking inputs, one row at a time and all at once; its requantization is probed at the accumulators at which
    rival rules part. Then every covered operator is compared inside the whole model, on the tensors the interpreter
    itself computed; and where all operators are covered, end to end. That is done on up to 8 inputs, on fewer where a
    model has many outputs.

    Args:
        model: a Model, a path or a file's bytes.
        runtimes: names of the runtimes; default: every one whose interpreter is installed. Runtimes for single dense
            layers are then asked about dense layers only.
        x: inputs of your own for the whole model, as `lastbit.run` takes them, instead of random ones; up to `samples`
            calls are run. A dense layer that they reach directly gets them beside its chosen rows.
        samples: rows of input for each dense layer, 1 or more.
        seed: of all random inputs.
        progress: called with (steps done, steps in total, what is done next).
        library: the shared library that CMSIS-NN was built into, for the runtimes that need one.
        allow_gaps: let operators that were not compared give exit code 0 where some others were, and are equal.

    Returns:
        The Verification. `exit_code` is 0 where every operator was compared and is equal, 1 where something differs, 3
        where an operator was not compared, 4 where an interpreter died. An operator that the runtime refuses as
        LastBit does has no outputs to compare and is not counted.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        OracleMissingError: a runtime was named, or there is none, whose interpreter is installed.
        InputError: `samples` is below 1, or a library is given and no runtime that needs one.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}; wanted 1 or more")
    loaded = load(model)
    loaded.subgraphs[0].require_scales()
    chosen, missing = _chosen(runtimes, library)
    inputs: dict[int, LayerInputs] = {}
    given = [] if x is None else given_samples(loaded, x)[:samples]
    checks = [
        _RuntimeCheck(loaded, runtime, samples, seed, inputs, len(chosen), named=runtimes is not None, given=given)
        for runtime in chosen
    ]
    total, before = sum(check.steps for check in checks), 0
    for check in checks:
        try:
            for done, what in enumerate(check.run(library)):
                if progress is not None:
                    progress(before + done, total, f"{check.result.runtime.name}: {what}")
        except OracleError as error:  # it does not load; what the other runtimes gave is kept
            if len(checks) == 1:
                raise
            check.result.died = str(error)
        before += check.steps
    return Verification(loaded, samples, seed, [check.result for check in checks], missing, allow_gaps)


def _chosen(
    runtimes: Sequence[str | Runtime] | None, library: str | os.PathLike[str] | None
) -> tuple[list[Runtime], list[str]]:
    """The runtimes to compare, and the names of those that are left out since they are not installed."""
    missing: list[str] = []
    if runtimes is None:
        chosen = [RUNTIMES[name] for name in RUNTIMES if installed(name) is not None]
        missing = [name for name in RUNTIMES if installed(name) is None]
        if not chosen:
            raise OracleMissingError(
                f"no real interpreter is installed to verify against. Install them: {install_text('litert', 'tflm')}"
            )
    else:
        chosen = [get_runtime(name) for name in runtimes]
    if library is not None and not any(map(is_library, chosen)):
        needing = ", ".join(name for name, spec in ORACLES.items() if spec.library)
        raise InputError(f"a library ({library}) is given and no runtime that needs one; name one of: {needing}")
    if runtimes is not None and library is None:
        for runtime in chosen:
            if installed(runtime) is None:
                open_oracle(runtime).close()  # raises, and says how to install it, before anything has run
    return chosen, missing


class _RuntimeCheck:
    """Everything that is compared for one runtime.

    Args:
        model: the model.
        runtime: the runtime.
        samples: rows for each dense layer, and at most so many inputs of the whole model.
        seed: of all random inputs.
        inputs: what dense layers are fed with, shared by all runtimes.
        runtimes: how many runtimes are compared.
        named: whether the runtime was asked for by its name.
        given: the user's own inputs of the whole model, call by call; empty for random ones.
    """

    def __init__(
        self,
        model: Model,
        runtime: Runtime,
        samples: int,
        seed: int,
        inputs: dict[int, LayerInputs],
        runtimes: int,
        *,
        named: bool,
        given: Sequence[Sequence[Array]],
    ) -> None:
        prepared = prepare(model, runtime)
        results = {op.index: _empty_result(prepared, op) for op in model.operators}
        self.result = RuntimeResult(
            model, runtime, {}, list(results.values()), dense_only=runtime.dense_only and not named
        )
        self._layers = LayerChecks(prepared, samples, seed, inputs, results, given)
        self._whole = None
        if not runtime.dense_only:
            count = whole_model_samples(model, samples, len(given)) if prepared.operators else 1
            self._whole = WholeModelCheck(prepared, count, seed, runtimes, results, given)

    @property
    def steps(self) -> int:
        """How many steps `run` takes at most."""
        return self._layers.steps + (1 if self._whole is None else self._whole.steps)

    def run(self, library: str | os.PathLike[str] | None) -> Iterator[str]:
        """Compare; yields what comes next."""
        with open_oracle(self.result.runtime, library=library) as oracle:
            self.result.fingerprint = oracle.fingerprint.as_dict()
            yield from self._layers.run(oracle)
            if self._whole is None:
                yield "done with its dense layers"
                self.result.whole_model_note = f"{DENSE_ONLY}; it does not run whole models"
            else:
                yield from self._whole.run(oracle, self.result)


def _empty_result(prepared: PreparedModel, op: Operator) -> OperatorResult:
    """One operator before anything was compared."""
    entry = prepared.operators.get(op.index)
    if entry is None:
        refused = prepared.refused[op.index]
        return OperatorResult(op.index, op.name, "", "", refusal=refused.reason, refusal_kind=refused.kind)
    silent = not any(prepared.model.tensors[index].dtype.numpy is not None for index in op.outputs)
    return OperatorResult(op.index, op.name, entry.rule, entry.kernel, notes=entry.notes, silent=silent)
