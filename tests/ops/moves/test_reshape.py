"""RESHAPE: where the runtimes take the new shape from, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lastbit.model.errors import InputError, UnsupportedError
from lastbit.model.graph import Model, Subgraph
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import quant
from lastbit.ops.base import PreparedOperator
from lastbit.ops.moves.reshape import RULES, prepare_reshape
from lastbit.oracles import OracleFailure, OracleRun, installed, on_this_machine, open_oracle
from tests.support.models import ModelBuilder


def _graph(shape: Any, options: Any, output: Any = (4, 6)) -> Subgraph:
    """[2, 12] to `output`, by a constant shape, an option, both or neither."""
    build = ModelBuilder()
    inputs = [build.tensor((2, 12), "int8", quant(0.5))]
    if shape is not None:
        inputs.append(build.constant(shape, "int32"))
    last = build.operator("RESHAPE", inputs, [build.tensor(output, "int8", quant(0.5))], new_shape=options)
    return build.graph([0], [last])


def _prepare(shape: Any, options: Any, rule: str = "copy") -> PreparedOperator:
    model = Model((_graph(shape, options),), "", 3, b"")
    return prepare_reshape(model, model.operators[0], rule)


@pytest.mark.parametrize(("shape", "options"), [(None, (4, 6)), (None, (4, -1)), ((4, -1), (3, 8)), ((-1, 6), ())])
def test_shape_of_input_or_option(shape: Any, options: Any) -> None:
    x = np.arange(24, dtype=np.int8).reshape(2, 12)
    prepared = _prepare(shape, options)
    assert prepared.inputs == (0,)
    assert prepared.evaluate([x])["output"].tolist() == x.reshape(4, 6).tolist()
    batch = np.concatenate([x, x + 1])
    assert prepared.evaluate([batch])["output"].tolist() == batch.reshape(8, 6).tolist()


def test_tflm_takes_the_output_tensors_shape() -> None:
    prepared = _prepare(None, (5, 5), "copy_to_output_shape")
    assert prepared.evaluate([np.zeros((2, 12), np.int8)])["output"].shape == (4, 6)


def test_refusals() -> None:
    for options in ((5, 5), (-1, -1), (), (5, -1)):
        with pytest.raises(UnsupportedError, match="does not hold the 24 elements"):
            _prepare(None, options)
    with pytest.raises(InputError, match="whole samples"):
        _prepare(None, (4, 6)).evaluate([np.zeros((1, 13), np.int8)])


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm"])
@pytest.mark.parametrize(("shape", "options"), [(None, (4, 6)), (None, (4, -1)), ((4, -1), (3, 8)), (None, (5, 5))])
def test_running_interpreter(runtime: str, shape: Any, options: Any) -> None:
    if installed(on_this_machine(runtime)) is None:
        pytest.skip(f"the interpreter of {runtime} is not installed")
    x = np.arange(24, dtype=np.int8).reshape(2, 12)
    with open_oracle(on_this_machine(runtime)) as oracle:
        job = (write(_graph(shape, options)), [[x]])
        result = oracle.run_batch([job])[0]
    try:
        prepared = _prepare(shape, options, "copy_to_output_shape" if runtime == "tflm" else "copy")
    except UnsupportedError:
        assert isinstance(result, OracleFailure)
        return
    assert isinstance(result, OracleRun)
    found, wanted = prepared.evaluate([x])["output"], result.outputs[0][0]
    assert found.shape == wanted.shape
    assert (found == wanted).all()


def test_rules_are_described() -> None:
    assert set(RULES) == {"copy", "copy_to_output_shape"}
