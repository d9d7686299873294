"""Dense layers with an 8-bit input beside plain int8: uint8, weights with a zero point, int4 weights; and refusals."""

from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lab.cases.dense import HERE, RUNTIMES, make_layer, rescaled
from lab.cases.dense_8bit import INT4, INT8_ZERO_POINT, KINDS, UINT8_ZERO_POINT, all_cases
from lastbit.layers.differences import steps_of
from lastbit.layers.separating_inputs import all_rules, boundary_inputs, tie_seeking_inputs
from lastbit.model.errors import UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.dense.fully_connected import prepare_fully_connected
from lastbit.ops.prepare import choose_rule, prepare_operator
from lastbit.oracles import OracleFailure, on_this_machine, open_oracle
from lastbit.rules.base import Sums
from lastbit.rules.requantize.table import RULES
from lastbit.runtimes import get_runtime
from lastbit.runtimes.table_parts import LITERT_DENSE_REFUSED
from lastbit.runtimes.variant import key_of
from lastbit.verbs.explain.verb import explain
from lastbit.verbs.inspect.verb import inspect
from tests.support.interpreters import needs_all_interpreters
from tests.support.places import MODELS, needs_shared_models


def layer_of(kind, seed=0, **options):
    rng = np.random.default_rng(seed)
    options = {"units": 5, "depth": 6, "bias": rng.integers(-900, 900, 5), "input_shape": (3, 6)} | options
    return load(write(rescaled(make_layer(rng, "plain", kind, **options), rng)))


def int4_layer(bias, weights=((1, -8), (7, -1)), **options):
    """Scales of 1, so that accumulators can be read off; the output saturates beyond int8."""
    options = {"input_quant": quant(1.0), "weights_quant": quant(1.0), "output_quant": quant(1.0)} | options
    return load(write(dense_subgraph(np.asarray(weights), bias=np.asarray(bias), weights_dtype="int4", **options)))


def covered(model, runtime):
    try:
        return prepare_operator(model, model.operators[0], runtime)
    except UnsupportedError:
        return None


def test_uint8_worked_by_hand():
    graph = dense_subgraph(
        np.array([[0, 255], [128, 100]]),
        input_quant=quant(0.5, 128),
        weights_quant=quant(0.25, 100),
        output_quant=quant(1.0, 3),
        bias=np.array([1000, -40]),
        input_dtype="uint8",
        weights_dtype="uint8",
    )
    model = load(write(graph))
    prepared = prepare_operator(model, model.operators[0], "litert-reference")
    steps = prepared.evaluate([np.array([[0, 255]], np.uint8)])
    # (0 - 128) * (0 - 100) + (255 - 128) * (255 - 100) + 1000, and -128 * 28 - 40
    assert steps["acc"].tolist() == [[12800 + 19685 + 1000, -3584 - 40]]
    assert steps["with_zero_point"].tolist() == [[4186 + 3, -453 + 3]]  # / 8, 4185.625 and -453
    assert steps["output"].tolist() == [[255, 0]]
    assert steps["output"].dtype == np.uint8


@pytest.mark.parametrize(
    ("bias", "narrow", "wide"),
    [
        (2**27 - 1, 2**27 - 1, 2**27 - 1),
        (2**27, -(2**27), 2**27),
        (-(2**27) - 1, 2**27 - 1, -(2**27) - 1),
        (2**28 + 5, 5, 2**28 + 5),
        (2**31 - 1, -1, 2**31 - 1),
    ],
)
def test_xnnpack_int4_accumulators_wrap_to_28_bits_and_others_do_not(bias, narrow, wide):
    model = int4_layer([bias, 0])
    zeros = np.zeros((1, 2), np.int8)
    accs = {name: prepare_operator(model, model.operators[0], name).evaluate([zeros])["acc"][0, 0] for name in RUNTIMES}
    assert accs == {**dict.fromkeys(RUNTIMES, wide), "litert-xnnpack": narrow, "litert-xnnpack-avxvnni": narrow}


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.group)
def test_the_fast_form_equals_the_exact_twin_element_by_element(kind, name):
    model = layer_of(kind, activation="RELU6")
    prepared = covered(model, name)
    if prepared is None:
        return  # which runtimes refuse what is compared with the interpreters below
    low, high = np.iinfo(model.inputs[0].dtype.numpy).min, np.iinfo(model.inputs[0].dtype.numpy).max
    x = np.random.default_rng(1).integers(low, high + 1, (3, 6)).astype(model.inputs[0].dtype.numpy)
    steps = prepared.evaluate([x])
    for row in range(3):
        for unit in range(5):
            twin = steps_of(prepared, int(steps["acc"][row, unit]), unit)
            assert int(twin[-1].value) == steps["output"][row, unit]


def test_any_rule_can_be_prepared_with_a_28_bit_accumulator():
    model = int4_layer([2**27, 0])
    prepared = prepare_fully_connected(model, model.operators[0], replace(RULES["float64-half_away"], sums=Sums(28)))
    assert prepared.evaluate([np.zeros((1, 2), np.int8)])["output"].tolist() == [[-128, 0]]
    assert prepared.equation.startswith("acc wraps to 28 bits;  y = clamp")


# What real interpreters refuse, and what they run without checking


def mixed(input_dtype, weights_dtype, output_dtype, per_channel=False, depth=4):
    float_output = output_dtype == "float32"
    graph = dense_subgraph(
        np.ones((3, depth)),
        input_quant=quant(0.5),
        weights_quant=quant([0.5, 0.25, 0.5] if per_channel else 0.5),
        output_quant=None if float_output else quant(1.0),
        bias=np.array([1, 2, 3]),
        input_dtype=input_dtype,
        weights_dtype=weights_dtype,
        output_dtype=output_dtype,
    )
    return load(write(graph))


MIXED = [
    (x, w, y, per_channel)
    for x in ("int8", "uint8")
    for w in ("int8", "uint8", "int4")
    for y in ("int8", "uint8", "int16", "int32", "float32")
    for per_channel in (False, True)
]


@needs_all_interpreters
@pytest.mark.parametrize("runtime", HERE)
def test_element_types_are_refused_where_the_interpreter_refuses_them_or_does_not_check_them(runtime):
    unchecked = LITERT_DENSE_REFUSED[key_of("FULLY_CONNECTED", "int8 x int8 -> int16 per_tensor")]
    wrong = []
    with open_oracle(runtime) as oracle:
        for types in MIXED:
            model = mixed(*types)
            op = model.operators[0]
            try:
                choose_rule(model, op, get_runtime(runtime))
                ours = "runs"
            except UnsupportedError as error:
                if unchecked.reason in str(error):
                    continue  # garbage, or a crash of the process
                ours = "refused"
            fed = model.inputs[0]
            try:
                oracle.run(model.content, [[np.zeros(fed.shape, fed.dtype.numpy)]])
                theirs = "runs"
            except OracleFailure as failure:
                theirs = failure.kind
            if ours != theirs:
                wrong.append((types, ours, theirs))
    assert not wrong


@needs_all_interpreters
def test_int8_to_int16_is_unchecked_in_fact():
    """Per-channel, the real kernels write numbers that no accumulator of this layer explains; so it is refused."""
    model = mixed("int8", "int8", "int16", per_channel=True)
    assert covered(model, "litert-builtin-x86") is None
    x = np.full((1, 4), 100, np.int8)
    wanted = np.rint((400 + np.array([1, 2, 3])) * 0.5 * np.array([0.5, 0.25, 0.5])).astype(np.int16)
    with open_oracle("litert-builtin-x86") as oracle:
        found = oracle.run(model.content, [[x]]).outputs[0][0]
    assert not np.array_equal(found[0], wanted)


def test_the_refusal_of_unchecked_types_says_what_happens():
    model = mixed("int8", "int8", "int16")
    with pytest.raises(UnsupportedError, match=r"does not check these element types.*without meaning.*Convert"):
        prepare_operator(model, model.operators[0], "litert-builtin-x86")


@pytest.mark.parametrize(
    ("depth", "kernel"), [(1, "builtin"), (2, "xnnpack"), (7, "builtin"), (32, "xnnpack"), (33, "builtin")]
)
@needs_all_interpreters
def test_the_delegate_declines_an_odd_depth_of_int4(depth, kernel):
    model = mixed("int8", "int4", "int8", depth=depth)
    runtime = on_this_machine("litert-xnnpack")
    assert prepare_operator(model, model.operators[0], runtime).kernel == kernel
    with open_oracle(runtime) as oracle:
        run = oracle.run(model.content, [[np.zeros((1, depth), np.int8)]])
    assert run.delegated == (kernel == "xnnpack")


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-builtin-x86", "litert-reference"])
@pytest.mark.parametrize("scale", [1.0, [1.0, 0.5]], ids=["per_tensor", "per_channel"])
def test_litert_takes_int4_weights_without_a_zero_point_only(runtime, scale):
    assert covered(int4_layer([0, 0], weights_quant=quant(scale, 1)), runtime) is None
    assert covered(int4_layer([0, 0], weights_quant=quant(scale)), runtime) is not None


# explain, inspect, verify


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.group)
def test_explain_agrees_with_the_engine_on_every_runtime(kind):
    for seed in range(4):
        model = layer_of(kind, seed)
        for name in RUNTIMES:
            prepared = covered(model, name)
            if prepared is None:
                with pytest.raises(UnsupportedError):
                    explain(model, runtime=name)
                continue
            explanation = explain(model, seed=seed, runtime=name)
            assert f"random {model.inputs[0].dtype.name} from" in explanation.input_source
            assert explanation.as_dict()["accumulation"]["acc_bits"] == prepared.acc_bits
            assert str(explanation)
            assert explanation.latex()


def test_explain_names_the_range_of_uint8():
    assert "the range of uint8" in str(explain(layer_of(UINT8_ZERO_POINT)))


def test_explain_says_when_the_accumulators_width_makes_the_difference():
    model = int4_layer([2**27 + 40, 0])
    explanation = explain(model, np.zeros((1, 2), np.int8), at=(0, 0), runtime="litert-xnnpack")
    text = " ".join(str(explanation).split())
    assert explanation.output == -128
    assert "acc = wrap28(sum) the low 28 bits are kept" in text
    assert (
        "the accumulator's width. The sum 134217768 is kept in 28 bits here, and in 32 bits there. So acc is " in text
    )
    other = next(o for o in explanation.as_dict()["runtimes"] if o["runtime"] == "tflm")
    assert (other["output"], other["acc"], other["first_difference"]) == (127, 2**27 + 40, None)
    assert r"a \bmod 2^{28}" in explanation.latex()
    assert "No runtime prints another value" not in text


def test_a_narrow_accumulator_that_can_wrap_is_noted_everywhere_and_one_that_cannot_is_not():
    model = int4_layer([2**27 - 5, 0])
    note = "this kernel's accumulator has 28 bits; inputs exist for which it wraps in 1 of 2 units"
    assert note in prepare_operator(model, model.operators[0], "litert-xnnpack").notes[0]
    for report in (inspect(model), inspect(model, 0), explain(model, runtime="litert-xnnpack")):
        assert note in " ".join(str(report).split())
    assert prepare_operator(model, model.operators[0], "litert-reference").notes == ()
    calm = int4_layer([5, 0])
    assert prepare_operator(calm, calm.operators[0], "litert-xnnpack").notes == ()
    assert "acc wraps to 28 bits" in str(inspect(calm, 0))


def test_a_weights_zero_point_is_noted_with_the_fault_of_tensorflow():
    model = layer_of(INT8_ZERO_POINT)
    note = "TensorFlow 2.21's XNNPACK delegate takes such an int8 layer and ignores that zero point"
    prepared = prepare_operator(model, model.operators[0], "litert-xnnpack")
    assert prepared.kernel == "builtin"
    assert note in prepared.notes[0]
    uint8 = layer_of(UINT8_ZERO_POINT)
    assert prepare_operator(uint8, uint8.operators[0], "litert-xnnpack").notes == ()


def test_ignored_zero_points_and_an_unchecked_bias_scale_are_noted():
    graph = dense_subgraph(
        np.ones((2, 3)), input_quant=quant(1.0), weights_quant=quant([1.0, 0.5], 3), output_quant=quant(1.0)
    )
    model = load(write(graph))
    assert "ignores the zero points" in prepare_operator(model, model.operators[0], "litert-reference").notes[0]
    plain = dense_subgraph(
        np.ones((2, 3)), input_quant=quant(1.0), weights_quant=quant(1.0), output_quant=quant(1.0), bias=np.ones(2)
    )
    tensors = [*plain.tensors[:2], replace(plain.tensors[2], quant=quant(1.03)), plain.tensors[3]]
    model = load(write(replace(plain, tensors=tuple(tensors))))
    assert "takes the bias as it is" in prepare_operator(model, model.operators[0], "litert-xnnpack").notes[0]
    assert covered(model, "tflm") is None


@needs_all_interpreters
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.group)
def test_verify_cuts_out_probes_and_runs_the_whole_model(kind):
    model = layer_of(kind)
    report = lastbit.verify(model, HERE, samples=12)
    for result in report.results:
        operator = result.operators[0]
        if covered(model, result.runtime.name) is None:
            assert operator.status == "refused by both"
            continue
        assert operator.status == "exact"
        whats = {comparison.what.split(",")[0] for comparison in operator.comparisons}
        assert whats == {"cut out", "requantization probed", "in the whole model"}
        assert not result.end_to_end.differs
    assert report.exit_code == 0


@needs_all_interpreters
def test_verify_shows_notes():
    report = lastbit.verify(layer_of(INT8_ZERO_POINT), ["litert-reference", "litert-builtin-x86"], samples=4)
    assert report.exit_code == 0
    assert "ignores that zero point" in " ".join(str(report).split())
    assert "that zero point" in report.as_dict()["runtimes"][0]["operators"][0]["notes"][0]


@needs_all_interpreters
@needs_shared_models
def test_the_uint8_model_of_2019_is_exact_and_refused_by_tflm():
    report = lastbit.verify(MODELS / "cpetig_hello_cc_0.tflite", HERE, samples=12)
    *litert, micro = report.results
    assert [[o.status for o in result.operators] for result in litert] == [["exact"] * 3] * 3
    assert [o.status for o in micro.operators] == ["refused by both"] * 3
    assert {o.kernel for o in litert[0].operators} == {"xnnpack"}


@needs_all_interpreters
def test_every_family_is_exact_on_every_runtime():
    """A small part of `python -m lab collect dense --families 8bit`, and that the kernel is the one expected."""
    wrong, outputs = [], 0
    oracles = [open_oracle(name) for name in HERE]
    for case in all_cases(seed=99, rounds=1):
        model = load(write(case.graph))
        for oracle in oracles:
            prepared = covered(model, oracle.name)
            try:
                run = oracle.run(model.content, [[x] for x in case.samples])
            except OracleFailure:
                run = None
            if prepared is None or run is None:
                wrong += [(oracle.name, case.family, "refusal")] * ((prepared is None) != (run is None))
                continue
            if run.delegated not in (None, prepared.kernel == "xnnpack"):
                wrong.append((oracle.name, case.family, prepared.kernel))
            for x, (theirs,) in zip(case.samples, run.outputs, strict=True):
                outputs += theirs.size
                if not np.array_equal(prepared.evaluate([x])["output"], theirs):
                    wrong.append((oracle.name, case.family, "outputs"))
    for oracle in oracles:
        oracle.close()
    assert not wrong
    assert outputs > 100_000


# Models and inputs that are made for these layers


@pytest.mark.parametrize(
    ("types", "zero_points"),
    [
        (("uint8", "uint8", "uint8"), (128, 3, 255)),
        (("int8", "int4", "int8"), (-5, 0, 7)),
        (("int16", "int8", "int16"), (0, 0, 0)),
    ],
)
def test_a_written_layer_reads_back_as_it_was(types, zero_points):
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 8, (3, 5))
    graph = dense_subgraph(
        weights,
        input_quant=quant(0.5, zero_points[0]),
        weights_quant=quant(0.25, zero_points[1]),
        output_quant=quant(1.0, zero_points[2]),
        bias=rng.integers(-9, 9, 3),
        input_dtype=types[0],
        weights_dtype=types[1],
        bias_dtype="int64" if types[0] == "int16" else "int32",
    )
    model = load(write(graph))
    assert [model.tensors[i].dtype.name for i in (0, 1, 3)] == list(types)
    np.testing.assert_array_equal(model.tensors[1].data, weights)
    assert [int(model.tensors[i].quant.zero_point[0]) for i in (0, 1, 3)] == list(zero_points)
    assert model.tensors[2].dtype.name == ("int64" if types[0] == "int16" else "int32")


@pytest.mark.parametrize("kind", [UINT8_ZERO_POINT, INT4], ids=lambda kind: kind.group)
def test_tie_seeking_inputs_hit_accumulators_on_which_rules_part(kind):
    model = layer_of(kind, units=4, depth=24, bias=None, input_shape=(1, 24))
    prepared = prepare_operator(model, model.operators[0], "litert-reference")
    rng = np.random.default_rng(3)
    params = all_rules(prepared.layer)
    rows, hits = tie_seeking_inputs(prepared.layer, params, 30, rng)
    assert rows.dtype == model.inputs[0].dtype.numpy
    assert hits > 5
    outputs = {
        name: prepare_fully_connected(model, model.operators[0], name).evaluate([rows])["output"] for name in params
    }
    disputed = np.any([o != outputs["float64-half_away"] for o in outputs.values()], axis=0).any(axis=1)
    assert disputed.sum() >= hits


def test_boundary_inputs_reach_both_ends_of_every_accumulator_they_aim_at():
    model = layer_of(UINT8_ZERO_POINT, bias=None)
    layer = prepare_operator(model, model.operators[0], "litert-reference").layer
    rows = boundary_inputs(layer, np.random.default_rng(0), units=5)
    assert {int(rows.min()), int(rows.max())} == {0, 255}
    weights = layer.weights_values.astype(np.int64) - layer.weights_zero_point
    accs = (rows.astype(np.int64) - layer.input_zero_point) @ weights.T
    low, high = layer.reachable_acc()
    np.testing.assert_array_equal(accs.min(axis=0), low)
    np.testing.assert_array_equal(accs.max(axis=0), high)
