"""What is wrong with what another machine printed: its first operator that differs, diagnosed on its own tensors."""

from __future__ import annotations

import numpy as np

from ...layers.layer_input import layer_operator
from ...layers.step_tables import layer_operators
from ...model.errors import InputError
from ...ops.prepare import prepare
from ..diagnose.hybrid_report import HybridDiagnosis
from ..diagnose.network_report import NetworkDiagnosis
from ..diagnose.report import Diagnosis
from ..diagnose.verb import diagnose
from ..run.verb import load
from .compared import Recorded, first_differing
from .comparing import compare_recorded
from .recording import read_recording

__all__ = ["diagnose_recorded"]


def diagnose_recorded(
    path: str, recorded: str, op: int | None, runtime: str | None
) -> Diagnosis | NetworkDiagnosis | HybridDiagnosis | Recorded:
    """Name the mistakes in one operator of a recording.

    Args:
        path: the model's file.
        recorded: the recording.
        op: the operator; default: the first that differs from the runtime, or from the nearest one.
        runtime: whose output it should be.

    Returns:
        The diagnosis; where no operator differs, or the first that does is none that diagnose takes, what was compared.

    Raises:
        InputError: the file is not a recording of this model, or has not the operator's tensors.
        UnsupportedError: the operator is none that diagnose takes.
    """
    model = load(path)
    recording = read_recording(recorded, model)
    if op is None:
        report = compare_recorded(model, recording, None if runtime is None else [runtime])
        if not report.runtimes[0].differing:
            return report
        first = first_differing(report).operator
        if first.index not in [operator.index for operator in layer_operators(model, None)]:
            return report
        op, runtime = first.index, report.runtimes[0].runtime.name
    operator = layer_operator(model, op)
    entry = prepare(model, runtime or "litert-reference").operators.get(op)
    source = operator.inputs[0] if entry is None else entry.inputs[0]
    for index in (source, operator.outputs[0]):
        if any(index not in sample for sample in recording.samples):
            raise InputError(f"{recorded}: {model.tensors[index].label} is missing. Record it again.")
    given, printed = ([sample[i] for sample in recording.samples] for i in (source, operator.outputs[0]))
    return diagnose(model, {source: np.concatenate(given)}, np.concatenate(printed), op, runtime)
