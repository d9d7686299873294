"""compare: certificates compared with brute force over all accumulators, and inputs that must show what they claim."""

import json
import tracemalloc

import numpy as np
import pytest

from lab.pages import page_585
from lastbit.layers.running import rows_in_oracle
from lastbit.layers.solving import UnitSolver, reach_of, variants
from lastbit.model.errors import InputError, RuntimeNameError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.prepare import prepare
from lastbit.oracles import on_this_machine, open_oracle
from lastbit.rules.requantize.step_tables import outputs_at
from lastbit.verbs.compare.verb import compare
from tests.support.cli import invoke
from tests.support.interpreters import needs_all_interpreters
from tests.support.models import make_dense_model
from tests.support.places import MODELS, needs_shared_models

XNNPACK = on_this_machine("litert-xnnpack")


def model_of(weights, bias=None, scales=(0.5, 1.0, 1.0), zx=0, zy=0):
    """A layer of given weights; factor scales[0] * scales[1] / scales[2]."""
    weights = np.asarray(weights, np.int8)
    graph = dense_subgraph(
        weights,
        input_quant=quant(scales[0], zx),
        weights_quant=quant(scales[1]),
        output_quant=quant(scales[2], zy),
        bias=None if bias is None else np.asarray(bias),
    )
    return load(write(graph))


def brute_force(model, first, second):
    """Every (unit, accumulator) of the reachable ranges at which two runtimes' rules differ."""
    layers = [prepare(model, name).operators[0] for name in (first, second)]
    low, high = layers[0].layer.reachable_acc()
    found = set()
    for unit in range(layers[0].layer.units):
        accs = np.arange(low[unit], high[unit] + 1)
        a, b = (outputs_at(p.requant, accs, unit) for p in layers)
        found |= {(unit, int(acc)) for acc in accs[a != b]}
    return found


PAIRS = [
    ("litert-xnnpack", "litert-reference"),
    ("litert-xnnpack", "tflm"),
    ("litert-builtin-x86", "tflm"),
    ("litert-reference", "litert-builtin-x86"),
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("per_channel", [False, True])
def test_the_list_is_complete_and_the_input_shows_a_difference(first, second, per_channel):
    statuses = set()
    for seed in range(3):
        scale = 0.02 if seed < 2 else 0.0244140625
        model = make_dense_model(units=3, depth=9, seed=seed, per_channel=per_channel, output_scale=scale)
        report = compare(model, first, second, oracles=False, samples=500)
        (layer,) = report.layers
        in_range = brute_force(model, first, second)
        reaches = [reach_of(prepare(model, first).operators[0].layer, unit) for unit in range(3)]
        wanted = {(unit, acc) for unit, acc in in_range if reaches[unit].allows(np.asarray(acc))}
        listed = {
            (d.unit, acc)
            for d in layer.differences
            for low, high, _, _ in d.rows()
            for acc in range(low, high + 1, reaches[d.unit].divisor)
        }
        statuses.add(layer.status)
        if layer.status == "same":
            assert layer.never_reached == len(in_range)
            continue
        assert layer.never_reached == len(in_range) - len(wanted)
        assert listed == wanted
        assert layer.differing == len(wanted)
        outputs = [prepare(model, name).operators[0].evaluate([layer.witness.x[None]]) for name in (first, second)]
        assert [int(o["output"][0, layer.witness.unit]) for o in outputs] == [layer.witness.first, layer.witness.second]
        assert int(outputs[0]["acc"][0, layer.witness.unit]) == layer.witness.acc
        assert layer.witness.first != layer.witness.second
    assert "differs" in statuses or first == "litert-xnnpack"


def test_differences_on_random_rows_are_those_of_the_two_rules():
    model = make_dense_model(units=4, depth=9, seed=1, output_scale=0.0244140625)
    x = np.random.default_rng(0).integers(-128, 128, (4000, 9)).astype(np.int8)
    report = compare(model, "litert-builtin-x86", "tflm", x=x, oracles=False, samples=0)
    a, b = (prepare(model, n).operators[0].evaluate([x])["output"] for n in ("litert-builtin-x86", "tflm"))
    assert report.layers[0].data.elements == a.size
    assert report.layers[0].data.differing == int((a != b).sum()) == report.data.mismatches
    assert report.layers[0].random is None


def test_accumulators_out_of_step_with_the_weights_are_reached_by_no_input():
    """Factor 1/2: ties are at odd accumulators, and even weights without a bias reach none."""
    even = compare(model_of([[2, 4, -6]]), "litert-reference", "litert-xnnpack", oracles=False)
    assert even.layers[0].status == "same"
    assert even.layers[0].never_reached > 0
    assert even.exit_code == 0
    odd = compare(model_of([[2, 4, -5]]), "litert-reference", "litert-xnnpack", oracles=False)
    assert odd.layers[0].status == "differs"
    assert odd.exit_code == 1


def test_the_input_is_at_an_accumulator_that_is_reached():
    """One weight of 3 and a bias of 1: the sums are 3 * v + 1, and few of the accumulators that differ are such."""
    report = compare(
        model_of([[3]], bias=[1], scales=(0.5, 1.0, 1.0)), "litert-reference", "litert-xnnpack", oracles=False
    )
    reached = {3 * v + 1 for v in range(-128, 128)}
    wanted = {acc for _, acc in brute_force(model_of([[3]], bias=[1]), "litert-reference", "litert-xnnpack")} & reached
    assert wanted
    assert report.layers[0].witness.acc in wanted


def test_a_sum_that_wraps_is_compared_on_what_the_register_holds():
    model = model_of([[127, -128, 90]], bias=[2**31 - 20_000], scales=(2.0**-25, 1.0, 1.0))
    report = compare(model, "litert-reference", "tflm", oracles=False, samples=2000)
    layer = report.layers[0]
    prepared = prepare(model, "litert-reference").operators[0], prepare(model, "tflm").operators[0]
    low, high = prepared[0].layer.reachable_acc()
    assert high[0] >= 2**31
    accs = np.arange(low[0], high[0] + 1)
    wrapped = (accs + 2**31) % 2**32 - 2**31
    a, b = (outputs_at(p.requant, wrapped, 0) for p in prepared)
    assert layer.differing == int((a != b).sum())
    assert layer.reachable == len(accs)


def test_one_runtime_refuses_what_the_other_takes():
    model = model_of([[100, 27]], scales=(1.0, 1.0, 1 / 300))  # a factor of 300
    report = compare(model, "litert-reference", "litert-xnnpack")
    assert report.layers[0].status == "not covered"
    assert "256" in report.layers[0].second.refusal
    assert report.exit_code == 3
    assert "Not covered" in str(report)


def test_mistaken_requests_are_refused():
    model = make_dense_model()
    with pytest.raises(InputError, match="both runtimes are tflm"):
        compare(model, "tflm", "tflm")
    with pytest.raises(InputError, match="both runtimes are litert-builtin-x86"):
        compare(model, "litert-builtin", "litert-builtin-x86")
    with pytest.raises(RuntimeNameError):
        compare(model, "tflm", "tflm2")
    with pytest.raises(InputError, match="samples is -1"):
        compare(model, "tflm", "litert-xnnpack", samples=-1)


@needs_all_interpreters
def test_real_interpreters_confirm_the_input():
    model = make_dense_model(units=4, depth=30, seed=3, per_channel=True)
    report = compare(model, "litert-builtin-x86", "tflm", samples=0)
    witness = report.layers[0].witness
    assert witness.confirmed == {"litert-builtin-x86": witness.first, "tflm": witness.second}
    assert "confirms it" in str(report)


@needs_all_interpreters
@needs_shared_models
def test_every_covered_dense_layer_of_the_hello_world_model():
    report = compare(MODELS / "tflm_hello_world_int8.tflite", "tflm", XNNPACK, samples=200)
    assert [layer.status for layer in report.layers] == ["differs"] * 3
    for layer in report.layers:
        assert layer.witness.confirmed == {"tflm": layer.witness.first, XNNPACK: layer.witness.second}
    assert report.data.outputs == 16


@needs_all_interpreters
def test_the_number_that_people_argue_about_on_the_real_interpreters(rng):
    """docs/585.md: the same input and the same accumulator, and two right answers."""
    model = page_585.model()
    layer = prepare(model, "tflm").operators[0].layer
    x = UnitSolver(layer, 0).solve(585, rng)
    printed = {}
    for name in (XNNPACK, "litert-builtin-x86", "litert-reference", "tflm"):
        with open_oracle(name) as oracle:
            printed[name] = int(rows_in_oracle(oracle, model, layer, x[None], 1)[0, 0])
    assert printed == {XNNPACK: -120, "litert-builtin-x86": -119, "litert-reference": -119, "tflm": -119}


def test_the_page_about_it_lists_all_128_accumulators():
    text = page_585.page()
    assert "print different outputs at 128" in text
    for name in ("litert-xnnpack", "tflm"):
        assert f"`{name}`" in text


def test_command_and_its_json(tmp_path):
    path = tmp_path / "m.tflite"
    model = make_dense_model(units=3, depth=9, seed=1)
    path.write_bytes(model.content)
    result = invoke("compare", path, "--runtime", "litert-builtin", "--runtime", "tflm", "--no-oracle", "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["schema"] == "lastbit.compare/1"
    ranges = {(r[0], r[1]) for r in data["layers"][0]["ranges_of_all_units"]}
    assert ranges == {(acc, acc) for _, acc in brute_force(model, "litert-builtin-x86", "tflm")}
    np.save(tmp_path / "x.npy", np.zeros((2, 7), np.int8))
    two = ("--runtime", "tflm", "--runtime", "litert-xnnpack")
    assert invoke("compare", path, *two, "-i", tmp_path / "x.npy").exit_code == 2
    assert invoke("compare", path, "--runtime", "tflm").exit_code == 2
    assert invoke("compare", path, *two, "--op", "9").exit_code == 2


@pytest.mark.parametrize("depth", [1, 2, 5, 40, 300])
def test_solved_inputs_have_the_accumulator_asked_for(depth, rng):
    for seed in range(4):
        model = make_dense_model(units=3, depth=depth, seed=seed)
        layer = prepare(model, "tflm").operators[0].layer
        for unit in range(3):
            solver = UnitSolver(layer, unit)
            low, high = (int(end[unit]) for end in layer.reachable_acc())
            assert (solver.reach.low, solver.reach.high) == (low, high)
            for acc in (low, high, *rng.integers(low, high + 1, 20).tolist()):
                x = solver.solve(acc, rng)
                if x is None:
                    assert not solver.reach.gapless or not solver.reach.allows(np.asarray(acc))
                    assert depth > 2 or solver.is_reachable(acc) is False
                    continue
                assert x.dtype == np.int8
                steps = prepare(model, "tflm").operators[0].evaluate([x[None]])
                assert int(steps["acc"][0, unit]) == acc


def test_reachable_sums_written_out_are_all_sums(rng):
    model = model_of([[3, -5], [4, 6], [0, 0], [7, 7]], bias=[0, 10, 5, -1], zx=3)
    layer = prepare(model, "tflm").operators[0].layer
    v = np.arange(-131, 125)
    for unit, (a, b) in enumerate([(3, -5), (4, 6), (0, 0), (7, 7)]):
        sums = {int(s) for s in (a * v[:, None] + b * v[None]).ravel() + layer.bias_values[unit]}
        solver = UnitSolver(layer, unit)
        reach = reach_of(layer, unit)
        assert (reach.low, reach.high) == (min(sums), max(sums))
        for acc in range(reach.low - 3, reach.high + 4):
            assert solver.is_reachable(acc) == (acc in sums)
        if reach.gapless:
            assert all(reach.allows(np.asarray(acc)) == (acc in sums) for acc in range(reach.low, reach.high + 1))


def test_variants_keep_one_accumulator_and_change_others(rng):
    model = make_dense_model(units=4, depth=25, seed=2)
    prepared = prepare(model, "tflm").operators[0]
    x = rng.integers(-128, 128, 25).astype(np.int8)
    rows = variants(prepared.layer, 1, x, 60, rng)
    accs = prepared.evaluate([rows])["acc"]
    assert (accs[:, 1] == accs[0, 1]).all()
    assert accs[0, 1] == prepared.evaluate([x[None]])["acc"][0, 1]
    assert len(np.unique(accs[:, 0])) > 5


def _hybrid(seed=0):
    rng = np.random.default_rng(seed)
    graph = dense_subgraph(
        rng.integers(-127, 128, (5, 24)).astype(np.int8),
        input_quant=None,
        weights_quant=quant(0.01),
        output_quant=None,
        bias=rng.normal(size=5).astype(np.float32),
        input_dtype="float32",
        output_dtype="float32",
        bias_dtype="float32",
    )
    return load(write(graph))


@needs_all_interpreters
def test_hybrid_layers_are_proved_by_equal_operations_or_shown_to_differ():
    same = compare(_hybrid(), "litert-builtin-x86", "litert-reference")
    assert (same.layers[0].status, same.exit_code) == ("same", 0)
    report = compare(_hybrid(), XNNPACK, "litert-reference", samples=300)
    (layer,) = report.layers
    assert (layer.status, report.exit_code) == ("differs", 1)
    assert layer.random.rows == 300
    assert layer.random.differing > 0
    assert layer.witness.confirmed == {XNNPACK: layer.witness.first, "litert-reference": layer.witness.second}
    assert layer.witness.first != layer.witness.second
    data = json.loads(report.json())["layers"][0]
    assert np.float32(data["witness"]["first"]) == np.float32(layer.witness.first)
    assert data["random"]["distribution"] == "standard normal values"
    assert "confirms it" in str(report)


def test_float_operations_that_part_at_the_ends_of_float32_only():
    """The two orders of a maximum differ for NaN, which only rows near float32's end come to."""
    report = compare(_hybrid(1), "litert-xnnpack", "litert-xnnpack-avx2", oracles=False, samples=50)
    (layer,) = report.layers
    assert (layer.status, report.exit_code) == ("differs", 1)
    assert layer.random.differing == 0
    assert "0 of 250" in str(report)
    assert np.abs(layer.witness.x).max() > 1e37
    assert json.loads(report.json())["layers"][0]["witness"]["first"] == "NaN"


def test_two_versions_of_one_runtime():
    model = make_dense_model(units=4, depth=30, seed=3)
    report = compare(model, "litert-reference@1.2", "litert-reference", samples=0, oracles=False)
    assert [r.name for r in report.runtimes] == ["litert-reference@1.2.0", "litert-reference"]
    assert report.layers[0].status == "differs"
    assert report.layers[0].first.requantization.startswith("q31")


@needs_shared_models
def test_an_int16_layer_in_little_memory():
    tracemalloc.start()
    report = compare(
        MODELS / "adi_dtln_int16_1.tflite", "litert-reference@1.2", "litert-reference", op=5, oracles=False
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.layers[0].status == "differs"
    assert report.layers[0].differing > 1000
    assert peak < 500e6
