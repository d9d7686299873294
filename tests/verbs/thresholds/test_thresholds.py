"""Exact requantization tables, compared with the rules, the slow twin, recorded interpreters and numbers by hand."""

import itertools
import json
import tracemalloc

import numpy as np
import pytest

from lab.record.dense import SETS, stored
from lastbit.layers.differences import ends_of
from lastbit.layers.running import accumulators
from lastbit.layers.step_tables import has_table, layer_rows
from lastbit.model.errors import InputError
from lastbit.model.tflite import load
from lastbit.model.types import INT8, INT16, fraction_of
from lastbit.ops.dense.gemv_or_gemm import for_rows
from lastbit.ops.prepare import prepare
from lastbit.rules.requantize.exact import exact_requantize
from lastbit.rules.requantize.fold import prepare_requantize, with_float_bias
from lastbit.rules.requantize.forms import Float
from lastbit.rules.requantize.step_tables import StepTable, channel_count, outputs_at, step_tables, take_channels
from lastbit.rules.requantize.table import COMMON as RULES
from lastbit.rules.requantize.table import EIGHT_BIT as EVERY_RULE
from lastbit.rules.requantize.table import INT16 as INT16_RULES
from lastbit.verbs.thresholds.verb import thresholds
from tests.support.cli import invoke
from tests.support.models import make_dense_model
from tests.support.places import MODELS, needs_shared_models

NOTHING_PRINTED = ("dense_hybrid", "dense_float")  # golden sets without layers that print a requantization
LOW, HIGH = -(2**31), 2**31 - 1
SPECIAL = np.asarray([LOW, LOW + 1, -(2**24) - 1, -(2**24), -1, 0, 1, 2**24, 2**24 + 1, HIGH - 1, HIGH])
RULES_64 = {name: rule for name, rule in INT16_RULES.items() if rule.sums.bits == 64}
TRIPLES = 4 * (10_000 // (4 * len(EVERY_RULE)) + 1)  # of each rule: more than 10,000 in all


def folded(rule, rng, count, kind, zero_point, activation="NONE", dtype=INT8):
    sx = np.float32(rng.choice([1, 0.05, 2.0**-7, rng.uniform(0.001, 0.2)]))
    sy = np.float32(rng.choice([1, 0.11, 2.0**-3, rng.uniform(0.001, 0.5)]))
    if kind == "plain":
        sw = rng.uniform(0.0005, 0.05, count)
    else:
        # Every exponent from vanishing factors to ones that wrap; powers of two, half integers, neighbours of a power.
        exponent = rng.integers(-36, 10, count)
        fraction = rng.choice([0.5, 0.75, np.nextafter(np.float32(1), np.float32(0)), 0.5000001, 0.625], count)
        sw = np.ldexp(np.where(rng.random(count) < 0.3, rng.uniform(0.5, 1, count), fraction), exponent)
        form = rule.requantize
        if not isinstance(form, Float) or form.bias == "in_acc":
            sw[0] = 0
    sw = sw.astype(np.float32)
    params = prepare_requantize(
        rule,
        input_scale=sx,
        weights_scale=sw,
        output_scale=sy,
        output_zero_point=zero_point,
        activation=activation,
        dtype=dtype,
    )
    return with_float_bias(params, rng.integers(-(2**20), 2**20, count), sx, sw)


def points_of(table, rng):
    near = rng.integers(-5000, 5000, 40)
    points = np.concatenate(
        [table.starts, table.starts - 1, table.ends + 1, SPECIAL, near, rng.integers(LOW, HIGH, 40)]
    )
    return np.unique(points[(points >= table.low) & (points <= table.high)])


@pytest.mark.parametrize("name", EVERY_RULE)
def test_tables_equal_the_rule_at_every_interesting_point(name):
    """Over 10,000 scale triples in all: thresholds and both neighbours, int32's ends, float32's, and random ones."""
    rng = np.random.default_rng([5, list(EVERY_RULE).index(name)])
    checked = not_made = 0
    for kind, zero_point in (("plain", -128), ("adversarial", 127), ("adversarial", 0), ("adversarial", -5)):
        params = folded(EVERY_RULE[name], rng, TRIPLES // 4, kind, zero_point)
        for channel, table in enumerate(step_tables(params, LOW, HIGH, max_runs=1 << 15)):
            if table is None:
                not_made += 1
                continue
            points = points_of(table, rng)
            wanted = outputs_at(params, points, channel)
            assert np.array_equal(table.at(points), wanted), (kind, channel)
            assert (np.diff(table.values) != 0).all()
            checked += 1
    assert checked > 0.8 * TRIPLES
    assert not_made + checked == TRIPLES


def test_there_are_more_than_ten_thousand_triples():
    assert TRIPLES * len(EVERY_RULE) >= 10_000


@pytest.mark.parametrize("name", EVERY_RULE)
def test_tables_equal_the_rule_at_every_accumulator_of_a_range(name):
    rng = np.random.default_rng([6, list(EVERY_RULE).index(name)])
    params = folded(EVERY_RULE[name], rng, 40, "adversarial", 3, "RELU6")
    for low in (-3000, LOW, HIGH - 6000):
        accs = np.arange(low, low + 6000)
        for channel, table in enumerate(step_tables(params, low, low + 5999)):
            assert np.array_equal(table.at(accs), outputs_at(params, accs, channel)), (low, channel)


@pytest.mark.parametrize("name", RULES)
def test_tables_equal_the_slow_twin_at_their_thresholds(name):
    rng = np.random.default_rng([7, list(RULES).index(name)])
    sx, sw, sy = np.float32(0.0531), rng.uniform(0.001, 0.02, 3).astype(np.float32), np.float32(0.0625)
    params = prepare_requantize(
        RULES[name],
        input_scale=sx,
        weights_scale=sw,
        output_scale=sy,
        output_zero_point=-7,
        activation="RELU",
        dtype=INT8,
    )
    for channel, table in enumerate(step_tables(params, -(2**22), 2**22)):
        for acc in (*table.starts[1:].tolist(), *(table.starts[1:] - 1).tolist()):
            steps = exact_requantize(
                RULES[name],
                acc,
                input_scale=fraction_of(sx),
                weights_scale=fraction_of(sw[channel]),
                output_scale=fraction_of(sy),
                ends=ends_of(params),
            )
            assert int(steps[-1].value) == table.at(np.asarray(acc))


@pytest.mark.parametrize("name", RULES_64)
def test_wide_accumulators_and_wide_outputs(name):
    rng = np.random.default_rng([8, list(RULES_64).index(name)])
    params = folded(RULES_64[name], rng, 2, "plain", 0, dtype=INT16)
    for low, high in ((-(2**40), 2**40), (-(2**58), 2**58)):
        for channel, table in enumerate(step_tables(params, low, high, max_runs=1 << 17)):
            if table is not None:
                points = points_of(table, rng)
                points = np.append(points, [low, high])
                assert np.array_equal(table.at(points), outputs_at(params, points, channel))


def test_memory_stays_bounded_for_many_wide_channels():
    rng = np.random.default_rng(3)
    params = folded(RULES["float64-half_away"], rng, 12, "plain", 0, dtype=INT16)
    tracemalloc.start()
    count = sum(len(table) for table in step_tables(params, -(2**26), 2**26))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count > 12 * 1000
    assert peak < 300e6  # of one block of channels, however many there are


def test_the_number_that_people_argue_about():
    """Recorded in ARITHMETIC.md: XNNPACK prints -120, the other three -119."""
    outputs = {}
    for name in ("float32-half_even", "float64-half_away", "q31-half_up-half_up/fd", "q31-half_up-half_away/dd"):
        params = prepare_requantize(
            RULES[name],
            input_scale=np.float32(0.05296124517917633),
            weights_scale=np.asarray([0.024093778803944588], np.float32),
            output_scale=np.float32(0.11484327912330627),
            output_zero_point=-126,
            activation="NONE",
            dtype=INT8,
        )
        (table,) = step_tables(params, LOW, HIGH)
        outputs[name] = int(table.at(np.asarray(585)))
        assert table.monotone
        assert len(table.thresholds) == 255
    assert list(outputs.values()) == [-120, -119, -119, -119]


def test_overflow_gives_the_stretches_on_which_it_is_monotone():
    params = prepare_requantize(
        RULES["q31-half_up-half_away/dd"],
        input_scale=np.float32(1),
        weights_scale=np.asarray([8], np.float32),  # acc << 4 wraps
        output_scale=np.float32(1),
        output_zero_point=0,
        activation="NONE",
        dtype=INT8,
    )
    (table,) = step_tables(params, LOW, HIGH)
    assert not table.monotone
    assert table.falls.tolist() == [2**27 * (2 * k + 1) for k in range(-8, 8)]
    ranges = table.monotone_ranges
    assert ranges[0][0] == LOW
    assert ranges[-1][1] == HIGH
    assert all(b[0] == a[1] + 1 for a, b in itertools.pairwise(ranges))
    for first, last in ranges:
        assert (np.diff(table.clipped(first, last).values) > 0).all()


def test_too_many_steps_give_no_table_and_a_zero_factor_gives_one_run():
    scales = np.asarray([2.0**20 * 1.3, 0], np.float32)
    params = prepare_requantize(
        RULES["q31-half_up-half_up/dd"], input_scale=np.float32(1), weights_scale=scales, output_scale=np.float32(1),
        output_zero_point=9, activation="NONE", dtype=INT8,
    )  # fmt: skip
    huge, zero = step_tables(params, LOW, HIGH, max_runs=1000)
    assert huge is None
    assert (zero.starts.tolist(), zero.values.tolist()) == ([LOW], [9])


@pytest.mark.parametrize("golden", SETS)
def test_recorded_interpreters_print_what_the_tables_say(golden):
    """Recorded layers with zero weights print their requantization at chosen accumulators, in each runtime."""
    listing, recorded = stored(golden)
    compared = 0
    wide = "int16" in golden  # tables of 65,535 thresholds: some of the cases, and one unit of each
    pairs = zip(listing["cases"], recorded, strict=True)
    printing = [pair for pair in pairs if pair[0]["family"].startswith("requantization")]
    for case, arrays in printing[:: 9 if wide else 1]:
        model = load(arrays["model"].tobytes())
        for runtime in set(listing["fingerprints"]) - set(case["refused"]):
            prepared = prepare(model, runtime).operators[0]
            if not has_table(prepared) or prepared.requant.float_bias is not None:
                continue
            prepared = for_rows(prepared, layer_rows(prepared.layer))
            rows = np.concatenate([prepared.layer.rows(x) for x in arrays["x"]])
            accs = accumulators(prepared, rows)
            printed = np.concatenate([found.reshape(-1, accs.shape[1]) for found in arrays[runtime]])
            units = np.arange(0, accs.shape[1], accs.shape[1] if wide else 1 + accs.shape[1] // 8)
            params = take_channels(prepared.requant, units)
            for index, table in enumerate(step_tables(params, accs.min(), accs.max(), max_runs=1 << 16)):
                if table is not None:
                    chosen = units[index : index + 1] if channel_count(prepared.requant) > 1 else slice(None)
                    assert np.array_equal(table.at(accs[:, chosen]), printed[:, chosen]), (case, runtime, index)
                    compared += accs[:, chosen].size
    assert compared or golden in NOTHING_PRINTED


def test_table_lookup_and_clipping():
    table = StepTable(-9, 9, np.asarray([-9, 0, 5]), np.asarray([4, 2, 3]))
    assert table.at(np.asarray([[-9, -1], [0, 9]])).tolist() == [[4, 4], [2, 3]]
    assert table.falls.tolist() == [0]
    assert table.monotone_ranges == [(-9, -1), (0, 9)]
    part = table.clipped(1, 4)
    assert (part.starts.tolist(), part.values.tolist(), part.ends.tolist()) == ([1], [2], [4])


def test_report_of_a_model_and_of_a_layer():
    model = make_dense_model(per_channel=True, activation="RELU")
    report = thresholds(model, "tflm")
    layer = prepare(model, "tflm").operators[0].layer
    low, high = layer.reachable_acc()
    assert [(t.low, t.high) for t in (report[0].table(u) for u in range(5))] == list(zip(low, high, strict=True))
    data = json.loads(report.json())
    assert data["schema"] == "lastbit.thresholds/1"
    table = data["layers"][0]["tables"][2]
    assert len(table["outputs"]) == len(table["thresholds"]) + 1 == table["thresholds_count"] + 1
    assert min(table["outputs"]) == -5  # RELU stops at the zero point
    alone = thresholds(layer, "tflm")
    assert np.array_equal(alone[0].table(2).starts, report[0].table(2).starts)
    assert "reachable accumulators" in str(report)


def test_mistaken_requests_are_refused():
    model = make_dense_model()
    with pytest.raises(InputError, match="no operator 4"):
        thresholds(model, op=4)
    with pytest.raises(InputError, match="there is no unit 5; wanted 0 to 4"):
        thresholds(model, channel=5)
    with pytest.raises(InputError, match="not among the layers"):
        thresholds(model)[3]


@needs_shared_models
def test_float_outputs_are_listed_not_crashed_on():
    report = thresholds(MODELS / "mlt_toycar_quant_v01bench.tflite")
    assert report.exit_code == 3
    assert {layer["reason"] for layer in report.as_dict()["not_covered"]} != {""}
    assert "Without thresholds" in str(report)


def test_command(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(make_dense_model().content)
    result = invoke("thresholds", path, "--channel", "1", "--runtime", "tflm", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["layers"][0]["tables"][0]["unit"] == 1
    assert "first acc" in invoke("thresholds", path).stdout
    assert invoke("thresholds", tmp_path / "none.tflite").exit_code == 2
    assert invoke("thresholds", path, "--runtime", "no").exit_code == 2


def test_it_says_how_far_it_is():
    report = thresholds(make_dense_model(units=3, depth=4))
    again, told = thresholds(make_dense_model(units=3, depth=4)), []
    for plain in (False, True):
        report.calculate(lambda *step: told.append(step), plain=plain)
    assert told == [(0, 1, "operator 0 FULLY_CONNECTED")] * 2
    assert str(report) == str(again)
    assert report.as_dict() == again.as_dict()
