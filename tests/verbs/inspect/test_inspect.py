"""inspect: exact constants, everything that the file says, and text that stays readable."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from lastbit.arith.fixedpoint import quantize_multiplier
from lastbit.model.errors import InputError, RuntimeNameError
from lastbit.model.graph import Operator, Subgraph
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.model.types import DTYPES
from lastbit.ops.prepare import prepare
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.inspect.verb import inspect
from tests.support.models import make_dense_model
from tests.support.places import shared_models


def tiny(**options):
    """[[1, -2]] and [[3, 4]] with zero points, so that every number can be worked by hand."""
    graph = dense_subgraph(
        np.array([[1, -2], [3, 4]], np.int8),
        input_quant=quant(0.5, 10),
        weights_quant=quant(0.25, options.pop("weights_zero_point", 0)),
        output_quant=quant(options.pop("output_scale", 1.0), -4),
        bias=np.array([100, -7]),
        **options,
    )
    return load(write(graph))


def test_the_constants_of_a_layer_worked_by_hand():
    data = inspect(tiny(weights_zero_point=1)).as_dict()
    assert data["schema"] == "lastbit.inspect/1"
    dense = data["dense"][0]
    assert dense["covered"]
    assert (dense["units"], dense["depth"], dense["granularity"]) == (2, 2, "per_tensor")
    # bias - zx * sum(w) + K * zx * zw, with zx = 10, zw = 1, K = 2
    assert dense["constants"]["weights_sum"] == [-1, 7]
    assert dense["constants"]["folded_bias"] == [100 + 10 + 20, -7 - 70 + 20]
    # (x - 10) is -138..117; (w - 1) is [0, -3] and [2, 3]
    assert dense["constants"]["acc_min"] == [100 - 3 * 117, -7 - 5 * 138]
    assert dense["constants"]["acc_max"] == [100 + 3 * 138, -7 + 5 * 117]
    assert dense["constants"]["acc_bits"] == 11
    assert dense["constants"]["overflows_int32"] == []
    builtin = dense["runtimes"]["litert-builtin-x86"]
    assert builtin["effective_scale"] == {"decimal": [0.125], "hex": ["0x1.0000000000000p-3"]}
    assert builtin["multiplier"] == [2**30]
    assert builtin["shift"] == [-2]
    assert dense["runtimes"]["litert-reference"]["multiplier"] is None
    assert dense["operands"]["weights"]["quantization"]["zero_point"] == [1]


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_numbers_are_those_that_prepare_folds(per_channel):
    model = make_dense_model(units=12, per_channel=per_channel, activation="RELU6")
    dense = inspect(model).as_dict()["dense"][0]
    for name in RUNTIMES:
        shown = dense["runtimes"][name]
        if not shown["covered"]:
            assert shown["reason"] == prepare(model, name).refusals[0]
            continue
        prepared = prepare(model, name).operators[0]
        params = prepared.requant
        assert shown["rule"] == prepared.rule
        assert shown["kernel"] == prepared.kernel
        decimal = shown["effective_scale"]["decimal"]
        np.testing.assert_array_equal(np.array(decimal), params.effective_scale.astype(np.float64))
        assert [float.fromhex(text) for text in shown["effective_scale"]["hex"]] == decimal
        assert (shown["activation_min"], shown["activation_max"]) == (
            params.activation_min,
            params.activation_max,
        )
        if shown["multiplier"] is not None:
            q, shift = quantize_multiplier(params.effective_scale)
            assert (shown["multiplier"], shown["shift"]) == (q.tolist(), shift.tolist())
        assert dense["constants"]["folded_bias"] == prepared.folded_bias.tolist()


def test_scales_lose_nothing_on_the_way_through_json():
    model = make_dense_model(units=20, per_channel=True)
    data = json.loads(inspect(model).json())
    for shown, tensor in zip(data["tensors"], model.tensors, strict=True):
        scale = shown["quantization"]["scale"]
        np.testing.assert_array_equal(np.array(scale["decimal"]).astype(np.float32), tensor.quant.scale)
        assert [float.fromhex(text) for text in scale["hex"]] == [float(s) for s in tensor.quant.scale]


def test_bounds_that_depend_on_the_tie_rule_are_both_shown():
    model = tiny(output_scale=6 / 4.5, activation="RELU6")  # 6 is 4.5 steps
    report = inspect(model, 0)
    runtimes = report.as_dict()["dense"][0]["runtimes"]
    assert runtimes["litert-reference"]["activation_max"] == 1  # 5 - 4
    assert runtimes["litert-xnnpack"]["activation_max"] == 0  # 4.5 - 4, to even
    assert "-4..1" in str(report)
    assert "-4..0" in str(report)
    assert "-4..0 or -4..1" in str(inspect(model))


def test_an_accumulator_that_can_overflow_is_named():
    graph = dense_subgraph(
        np.full((3, 4), 127, np.int8),
        input_quant=quant(1.0, 0),
        weights_quant=quant(1.0),
        output_quant=quant(1000.0, 0),
        bias=np.array([0, 2**31 - 100, -(2**31) + 70000]),
    )
    model = load(write(graph))
    report = inspect(model, 0)
    assert report.as_dict()["dense"][0]["constants"]["overflows_int32"] == [1]
    assert "33 bits. CAN OVERFLOW int32 (it wraps) in units 1" in str(report)
    assert "33 OVERFLOWS" in str(inspect(model))
    assert "int32 cannot overflow" in str(inspect(make_dense_model(), 0))


@pytest.mark.parametrize(
    ("dtypes", "types"),
    [
        (("uint8",) * 3, "uint8"),
        (("int16", "int8", "int8"), "int16 x int8 -> int8"),
        (("float32", "int8", "float32"),) * 2,
    ],
)
def test_dense_layers_that_are_not_covered_are_shown_with_the_reason(dtypes, types):
    codes = {dtype.name: dtype for dtype in DTYPES.values()}
    graph = dense_subgraph(
        np.ones((2, 3), np.int8),
        input_quant=quant(0.5),
        weights_quant=quant([0.25, 0.125]),
        output_quant=quant(2.0),
    )
    tensors = []
    for tensor, name in zip(graph.tensors, dtypes, strict=True):
        dtype = codes[name]
        data = None if tensor.data is None else tensor.data.astype(dtype.numpy)
        params = tensor.quant if name != "float32" else None
        tensors.append(replace(tensor, dtype=dtype, data=data, quant=params))
    model = load(write(replace(graph, tensors=tuple(tensors))))
    if not prepare(model, "tflm").refusals:
        pytest.fail("this variant is covered now: take it out of here")
    report = inspect(model)
    dense = report.as_dict()["dense"][0]
    if isinstance(types, tuple):
        types = "float32 x int8"
    assert not dense["covered"]
    assert (dense["units"], dense["depth"]) == (2, 3)
    assert dense["operands"]["weights"]["quantization"]["scale"]["decimal"] == [0.25, 0.125]
    text = str(report)
    assert types in text
    assert "Not covered" in text
    detail = str(inspect(model, 0))
    assert "ot covered" in detail
    assert "0x1p-3" in detail  # the second weights scale


def test_operators_that_are_not_covered_are_never_hidden():
    base = make_dense_model()
    other = replace(base.tensors[0], index=1, name="y")
    op = Operator(0, "FLOOR", 1, (0,), (1,), {})
    graph = Subgraph("main", (base.tensors[0], other), (op,), (0,), (1,))
    model = replace(base, subgraphs=(graph,))
    report = inspect(model)
    coverage = report.as_dict()["operators"][0]["coverage"]
    assert set(coverage) == set(RUNTIMES)
    assert all(not entry["covered"] and entry["reason"] for entry in coverage.values())
    assert "none" in str(report)
    assert "this operator is not covered yet" in str(report)
    assert "Not covered on any runtime: this operator is not covered yet" in str(inspect(model, 0))


def test_text_shows_the_first_channels_and_says_how_to_see_all():
    model = make_dense_model(units=640, depth=4, per_channel=True)
    text = str(inspect(model, 0))
    assert "units 0 to 7 of 640 (all: --all-channels)" in text
    assert len(text.splitlines()) < 160
    every = str(inspect(model, 0, full=True))
    assert "--all-channels" not in every
    assert len(every.splitlines()) > 4 * 640
    data = inspect(model, 0).as_dict()
    assert len(data["dense"][0]["runtimes"]["tflm"]["multiplier"]) == 640


def test_one_operator_has_only_its_own_tensors():
    data = inspect(make_dense_model(bias=False), 0).as_dict()
    assert data["operator"] == 0
    assert [tensor["roles"] for tensor in data["tensors"]] == [["input"], ["constant"], ["output"]]
    assert data["dense"][0]["operands"]["bias"] is None
    assert data["dense"][0]["constants"]["bias"] == [0] * 5
    assert "absent" in str(inspect(make_dense_model(bias=False), 0))


def test_some_runtimes_only():
    assert inspect(make_dense_model(), runtimes=["tflm"]).as_dict()["runtimes"] == ["tflm"]
    with pytest.raises(RuntimeNameError, match="unknown runtime 'tflite2'"):
        inspect(make_dense_model(), runtimes=["tflite2"])


def test_an_operator_that_is_not_there():
    with pytest.raises(InputError, match="there is no operator 7; the model has operators 0 to 0"):
        inspect(make_dense_model(), 7)


def test_names_that_would_steer_a_terminal_are_escaped():
    model = make_dense_model()
    graph = model.subgraphs[0]
    tensors = (replace(graph.tensors[0], name="\x1b[2Jgone"), *graph.tensors[1:])
    hostile = replace(model, subgraphs=(replace(graph, tensors=tensors),))
    for report in (inspect(hostile), inspect(hostile, 0)):
        assert "\x1b" not in str(report)
        assert r"\x1b[2Jgone" in str(report)


@pytest.mark.parametrize("path", shared_models(), ids=lambda path: path.stem)
def test_every_real_model_is_inspected_completely(path):
    model = load(path)
    report = inspect(path)
    text, data = str(report), json.loads(report.json())
    assert [op["index"] for op in data["operators"]] == list(range(len(model.operators)))
    assert [entry["operator"] for entry in data["dense"]] == [op.index for op in model.dense_operators]
    assert len(data["tensors"]) == len(model.tensors)
    assert len(text.splitlines()) < 300
    for op in model.dense_operators[:12]:
        assert f"Operator {op.index} FULLY_CONNECTED" in str(inspect(model, op.index))


def test_operators_that_are_alike_are_looked_at_once_and_told_apart(monkeypatch):
    from lastbit.verbs.inspect.likeness import likeness
    from tests.model.tflite.test_reader import chain, changed

    graph = chain(*((i, i + 1) for i in range(40)))
    graph = changed(graph, 20, quant=quant(-1.0))  # operator 19 writes it, operator 20 reads it
    model = load(write(graph))
    quick = inspect(model).as_dict()
    assert not quick["operators"][20]["coverage"]["tflm"]["covered"]
    assert quick["operators"][21]["coverage"]["tflm"]["covered"]
    monkeypatch.setattr(sys.modules["lastbit.verbs.inspect.verb"], "likeness", lambda *_: None)
    assert inspect(model).as_dict() == quick
    assert likeness(model, model.operators[3]) == likeness(model, model.operators[4])
    assert likeness(model, model.operators[3]) != likeness(model, model.operators[19])
