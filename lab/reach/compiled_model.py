"""Compare LiteRT's CompiledModel with its Interpreter on this machine: the same layers, the same inputs, each bit.

    python -m lab check compiled_model [--families int8 8bit hybrid float] [--seed N]

LastBit's runtimes are compared with the Interpreter. This tells whether the newer interface does the same.
Its Python binding has no int16 buffers. It fails when it is first run where the Interpreter fails to prepare.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
import numpy.typing as npt
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter

from lab.cases import versions
from lastbit.layers.differences import same_bits
from lastbit.model.tflite import write


def by_interpreter(content: bytes, samples: tuple[npt.NDArray, ...]) -> list[npt.NDArray] | None:
    """What Interpreter(model) prints, or None where it refuses the model."""
    interpreter = Interpreter(model_content=content)
    try:
        interpreter.allocate_tensors()
    except RuntimeError:
        return None
    fed, asked = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    printed = []
    for x in samples:
        interpreter.set_tensor(fed, x)
        interpreter.invoke()
        printed.append(interpreter.get_tensor(asked))
    return printed


def by_compiled_model(
    content: bytes, samples: tuple[npt.NDArray, ...], shape: tuple[int, ...], dtype: npt.DTypeLike
) -> list[npt.NDArray] | None:
    """What CompiledModel prints for outputs of a shape and dtype, or None where it refuses the model."""
    printed = []
    try:
        model = CompiledModel.from_buffer(content)
        inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
        for x in samples:
            inputs[0].write(np.ascontiguousarray(x))
            model.run_by_index(0, inputs, outputs)
            printed.append(outputs[0].read(int(np.prod(shape)), np.dtype(dtype)).reshape(shape))
    except RuntimeError:
        return None
    return printed


def main() -> None:
    """Compare, and print a line for each family of cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=["int8", "8bit", "hybrid", "float"])
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    for family in options.families:
        told: Counter[str] = Counter()
        for entry in versions.cases([family], options.seed, 1):
            case = entry.case
            content, output = write(case.graph), case.graph.tensors[case.graph.operators[0].outputs[0]]
            wanted = by_interpreter(content, case.samples)
            found = by_compiled_model(content, case.samples, output.shape, output.dtype.numpy)
            if wanted is None or found is None:
                who = "compiled model" if wanted is not None else "interpreter" if found is not None else "both"
                told[f"refused by {who}"] += 1
                continue
            for a, b in zip(wanted, found, strict=True):
                differs = ~same_bits(a, b)
                told["outputs"] += a.size
                told["differ"] += int(differs.sum())
                if differs.any():
                    told[f"differ, {case.family}, weights {case.graph.tensors[1].dtype.name}"] += int(differs.sum())
        print(family, dict(told), flush=True)


if __name__ == "__main__":
    main()
