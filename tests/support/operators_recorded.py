"""What interpreters printed for operators beside dense layers, and what LastBit makes of the same."""

from collections import Counter

import numpy as np

from lastbit.model.errors import Refusal
from lastbit.ops.base import output_values
from lastbit.ops.prepare import prepare


def joined(arrays):
    """The bytes of arrays, one behind the other; every NaN is the same one."""
    return b"".join(
        (np.where(np.isnan(array), array.dtype.type(np.nan), array) if array.dtype.kind == "f" else array).tobytes()
        for array in arrays
    )


def compared_with(cases, runtime):
    """Assert that LastBit prints what a runtime's interpreter printed; bytes compared, by operator.

    Args:
        cases: (model of one operator, inputs, runtime -> outputs or words of a refusal).
        runtime: its name; cases that it did not run are left out.
    """
    compared = Counter()
    for model, inputs, outcomes in cases:
        if runtime not in outcomes:
            continue
        prepared, op, outcome = prepare(model, runtime), model.operators[0], outcomes[runtime]
        if isinstance(outcome, str):
            assert prepared.refusals, f"{op.name} {op.options}: the interpreter {outcome}, LastBit does not"
            continue
        if prepared.refusals:
            assert prepared.refused[0].kind is Refusal.NOT_EXACT, prepared.refusals
            continue
        found = joined(output_values(op, prepared.operators[0].evaluate(inputs)).values())
        assert found == joined(outcome), f"{op.name} {op.options}"
        compared[op.name] += len(found)
    return compared
