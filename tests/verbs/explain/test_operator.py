"""explain of operators that are no dense layers: the numbers are the operator's, for text, JSON and LaTeX."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from click.testing import CliRunner

import lastbit
from lab.cases.operators import Case, Operand
from lab.record.activations import cases
from lab.record.operators import all_cases
from lastbit.cli import main
from lastbit.model.errors import InputError, LastBitError
from lastbit.ops import OPERATORS
from lastbit.verbs.explain.operator import OperatorExplanation
from tests.support.places import MODELS, needs_shared_models

RUNTIME = "litert-builtin-x86"
# Those that keep values between calls stand in networks only: tests/ops/state. Dense layers: test_explain.py.
ALONE = set(OPERATORS) - {"FULLY_CONNECTED", "ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE"}


@cache
def first_of_each():
    """Operator -> a model of it and its inputs, of those that this runtime runs."""
    found = {}
    models = [(case.model(), list(case.values)) for case in all_cases(seed=3, scale=0.03)]
    models += [(case.model(), [case.values]) for case in cases(4, 30)]
    for model, values in models:
        name = model.operators[0].name
        if name in found or name == "FULLY_CONNECTED":
            continue
        fed = dict(zip([tensor.index for tensor in model.inputs], values, strict=True))
        try:
            output = lastbit.run(model, fed, RUNTIME).output
        except LastBitError:
            continue
        if output.size:
            found[name] = model, fed, output
    return found


@pytest.mark.parametrize("name", sorted(ALONE))
def test_every_covered_operator_is_explained(name):
    model, fed, output = first_of_each()[name]
    last = tuple(size - 1 for size in output.shape)
    for at in (None, last):
        made = lastbit.explain(model, fed, op=0, at=at, runtime=RUNTIME)
        assert isinstance(made, OperatorExplanation)
        assert np.asarray(made.output).astype(output.dtype).tobytes() == output[made.element.index].tobytes()
        text = str(made)
        for section in ("1. operator 0", "3. What", "4. Stage by stage", "5. Output", "6. What every runtime"):
            assert section in text
        data = json.loads(made.json())
        assert data["schema"] == "lastbit.explain.operator/1"
        assert data["rule"] == made.prepared.rule
        if data["steps"]:
            assert data["steps"][-1]["name"] == "output"
            assert data["steps"][-1]["value"]["float"] == float(made.output)
        assert made.latex().count(r"\begin{align*}") == 1


def test_every_operator_that_can_stand_alone_has_a_case():
    assert first_of_each().keys() == ALONE


def test_an_addition_shows_both_multipliers_and_who_rounds_otherwise():
    firsts = set()
    for case in all_cases(seed=3, scale=0.05):
        computed = all(operand is not None and operand.data is None for operand in case.inputs)
        if case.op != "ADD" or case.outputs[0].dtype != "int8" or not computed:
            continue
        model = case.model()
        fed = dict(zip([tensor.index for tensor in model.inputs], case.values, strict=True))
        try:
            made = lastbit.explain(model, fed, op=0, runtime="litert-xnnpack")
        except LastBitError:
            continue
        text = " ".join(str(made).split())
        for other in made.others:
            if other.first_difference:
                firsts.add(other.first_difference.partition(":")[0])
                assert f"{other.output}. First step that differs: {other.first_difference}." in text
        if made.differing:
            other = lastbit.explain(model, fed, op=0, at=made.element.index, runtime=RUNTIME)
            names = {step.name for step in other.element.steps}
            assert {"multiplier_of_scaled_1", "multiplier_of_scaled_2", "multiplier_of_acc_scaled"} <= names
    assert "acc_scaled" in firsts
    assert firsts <= {"acc_scaled", "output"}


def test_a_convolution_shows_its_products_and_a_moved_value_its_place():
    model, fed, _ = first_of_each()["CONV_2D"]
    made = lastbit.explain(model, fed, op=0, runtime=RUNTIME)
    products = made.element.products
    if products is not None:
        layer = made.prepared.convolution
        zx, zw = layer.input_zero_point, layer.weights_zero_point
        total = sum((x - zx) * (w - zw) for x, w in zip(products.x, products.weights, strict=True))
        assert total + products.bias == products.acc
    model, fed, output = first_of_each()["TRANSPOSE"]
    made = lastbit.explain(model, fed, op=0, at=output.size - 1, runtime=RUNTIME)
    number, place = made.element.moved
    values = [fed[index] for index in made.prepared.inputs]
    assert values[number][place] == made.output


def test_inputs_come_through_the_model_or_are_random_and_errors_say_what_is_wanted():
    model, fed, output = first_of_each()["RELU6"]
    one = lastbit.explain(model, next(iter(fed.values())), op=0, runtime=RUNTIME)
    assert "computed on" in one.input_source
    drawn = lastbit.explain(model, op=0, seed=3, runtime=RUNTIME)
    assert "seed 3" in drawn.input_source
    with pytest.raises(InputError, match="wanted 0 or more"):
        lastbit.explain(model, op=0, seed=-1, runtime=RUNTIME)
    with pytest.raises(InputError, match=r"there is no output element .*wanted an index of shape"):
        lastbit.explain(model, op=0, at=output.size, runtime=RUNTIME)
    with pytest.raises(InputError, match="can be used neither"):
        lastbit.explain(model, np.zeros((3, 3, 3, 3, 3), output.dtype), op=0, runtime=RUNTIME)


def test_the_command_prints_it_and_json(tmp_path):
    model, _, _ = first_of_each()["HARD_SWISH"]
    path = tmp_path / "m.tflite"
    path.write_bytes(bytes(model.content))
    result = CliRunner().invoke(main, ["explain", str(path), "--op", "0", "--runtime", "tflm", "-v"])
    assert result.exit_code == 0, result.output
    assert "4. Stage by stage" in result.output
    result = CliRunner().invoke(main, ["explain", str(path), "--op", "0", "--runtime", "tflm", "--json"])
    assert json.loads(result.stdout)["operator"] == {"index": 0, "name": "HARD_SWISH"}
    result = CliRunner().invoke(main, ["explain", str(path), "--op", "7"])
    assert result.exit_code == 2


@needs_shared_models
def test_variables_are_explained_by_what_stands_in_them():
    model = lastbit.load(MODELS / "more" / "mww_v2_hey_mycroft.tflite")
    read = next(op for op in model.operators if op.name == "READ_VARIABLE")
    assert "4. Stage by stage" in str(lastbit.explain(model, op=read.index, runtime="tflm"))
    handle = next(op for op in model.operators if op.name == "VAR_HANDLE")
    with pytest.raises(InputError, match="it computes no values"):
        lastbit.explain(model, op=handle.index, runtime="tflm")


def test_a_number_without_axes_is_explained():
    """Of float32, where runtimes are compared bit by bit."""
    one = np.float32(1.5).reshape(())
    case = Case("RESHAPE", [Operand((1,), "float32")], [Operand((), "float32")], [one.reshape(1)], {"new_shape": ()})
    explanation = lastbit.explain(case.model(), one.reshape(1), op=0, runtime="litert-reference")
    assert (explanation.output, explanation.element.index) == (1.5, ())
