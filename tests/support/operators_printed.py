"""A program: what LastBit calculates and says of recorded operators, as one JSON file.

python operators_printed.py OUT
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from lab.record.recorded_operators import read_golden
from lastbit.layers.worked_element import exact_element
from lastbit.model.errors import UnsupportedError
from lastbit.ops.prepare import prepare_operator
from lastbit.verbs.explain.verb import explain
from lastbit.verbs.inspect.constants import operator_constants

GOLDEN = Path(__file__).parents[1] / "recorded"
RUNTIMES = ("litert-xnnpack", "litert-xnnpack-avx2", "litert-builtin-x86", "litert-reference", "tflm")


def of_case(model, inputs, runtime):
    """The steps, constants, slow twin and, of few elements, the explanation of one operator in one runtime."""
    try:
        entry = prepare_operator(model, model.operators[0], runtime)
    except UnsupportedError as error:
        return ["refused", error.kind.value]
    steps = entry.evaluate(inputs)
    digest = hashlib.sha256(b"".join(value.tobytes() for value in steps.values())).hexdigest()
    told = [list(steps), digest, entry.rule, entry.kernel, entry.notes, operator_constants(entry)]
    if steps["output"].size:
        place = (0,) * steps["output"].ndim
        told.append([str(step) for step in exact_element(entry, inputs, place) or ()])
        if steps["output"].size < 20:
            told.append(explain(model, inputs[0] if len(inputs) == 1 else inputs, op=0, runtime=runtime).json())
    return told


def main(out):
    """Every few cases, and the first one of each operator and type."""
    found, seen = [], set()
    for path in sorted(GOLDEN.glob("operators.*.npz")):
        for number, (model, inputs, _) in enumerate(read_golden(path, every=2)[1]):
            op = model.operators[0]
            kind = op.name, model.tensors[op.outputs[0]].dtype.name
            if number % 8 == 0 or kind not in seen:
                seen.add(kind)
                found += [[op.name, of_case(model, inputs, runtime)] for runtime in RUNTIMES]
    Path(out).write_text(json.dumps(found, default=str), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
