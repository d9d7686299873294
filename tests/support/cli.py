"""What the tests of the command line share: a folder with models and inputs, and ways to run the program."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from lastbit.cli import main
from lastbit.model.tflite import load
from tests.support.models import ModelBuilder, make_dense_model

X = np.random.default_rng(5).integers(-128, 128, (4, 7)).astype(np.int8)


def fill(folder):
    """A dense model, inputs for it, and a model with an operator that is not covered."""
    model = make_dense_model()
    Path(folder, "m.tflite").write_bytes(model.content)
    Path(folder, "partial.tflite").write_bytes(partial_model(model))
    np.save(Path(folder, "x.npy"), X)
    np.save(Path(folder, "real.npy"), X.astype(np.float32) / 100)


def partial_model(model):
    """Dense, then FLOOR, which LastBit does not write: TANH's code (28) becomes FLOOR's (8) in the file."""
    graph = model.subgraphs[0]
    build = ModelBuilder(graph)
    end = build.operator("TANH", graph.outputs, [build.like(graph.outputs[0], name="end")])
    content = bytearray(build.content(graph.inputs, [end]))
    import tflite

    root = tflite.Model.GetRootAs(content, 0)
    for index in range(root.OperatorCodesLength()):
        code = root.OperatorCodes(index)
        if code.DeprecatedBuiltinCode() == 28:
            table = code._tab
            content[table.Pos + table.Offset(4)] = 8
            content[table.Pos + table.Offset(10)] = 8
    assert [op.name for op in load(bytes(content)).operators] == ["FULLY_CONNECTED", "FLOOR"]
    return bytes(content)


def invoke(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def shell(*args, **options):
    """The real program, in a process of its own; stdout and stderr apart."""
    options.setdefault("timeout", 60)
    return subprocess.run([sys.executable, "-m", "lastbit", *map(str, args)], capture_output=True, text=True, **options)
