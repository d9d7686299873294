"""A kind of CPU that adds products as no runtime does is one value, and every verb takes it."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lastbit.layers.mistakes import wrong_output
from lastbit.model.errors import OracleMissingError, UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.dense.layer import dense_variant
from lastbit.ops.prepare import prepare_operator
from lastbit.rules.base import NEIGHBOURS, Pairs
from lastbit.rules.sums.exact import pair_count, pair_sums
from lastbit.rules.sums.pairs16 import first_places, overflowing_pairs
from lastbit.runtimes import RUNTIMES, Rule
from lastbit.runtimes.base import Family
from lastbit.runtimes.cpu import Cpu, Interpreter, Mode
from lastbit.runtimes.variant import Variant
from lastbit.testing import assert_bitexact
from lastbit.verbs.bench.verb import bench
from lastbit.verbs.evaluate.verb import evaluate
from lastbit.verbs.inspect.verb import inspect

INT8 = tuple(Variant("int8", "int8", "int8", granularity) for granularity in ("per_tensor", "per_channel"))
WHOLE = Cpu(
    name="made-up",
    title="a runtime of this test",
    platform="any",
    sources=("this test",),
    rules={("FULLY_CONNECTED", variant): Rule("q31-half_up-half_away/dd", Family.CMSIS_NN) for variant in INT8},
)
# The one value.
FOURTH = Cpu(
    name="made-up-fourth",
    title="the same in pairs",
    platform="a CPU of this test",
    sources=("this test",),
    like="made-up",
    products=Pairs(4, "wrap16"),
    in_products=INT8,
)
DEPTH = 19


@pytest.fixture(scope="module")
def runtime():
    return Interpreter(Mode("none", "", "", ("none", "-")), (WHOLE, FOURTH)).runtimes["made-up-fourth"]


def dense(weights, scales=(0.005,), dtype="int8"):
    graph = dense_subgraph(
        weights,
        input_quant=quant(0.02, 3 if dtype == "int8" else 0),
        weights_quant=quant(scales),
        output_quant=quant(4.0, -5 if dtype == "int8" else 0),
        bias=np.asarray([1, -200, 3000, 0, 77]),
        input_dtype=dtype,
        output_dtype=dtype,
    )
    return load(write(graph))


@pytest.fixture(scope="module", params=["per_tensor", "per_channel"])
def model(request):
    """Wide weights, so that pairs overflow."""
    weights = np.random.default_rng(3).choice(np.int8([-128, -90, 100, 127]), (5, DEPTH))
    return dense(weights, (0.005,) if request.param == "per_tensor" else (0.005, 0.004, 0.003, 0.006, 0.002))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).choice(np.int8([-128, -1, 100, 127]), (9, DEPTH))


def by_hand(model, x):
    """The accumulators, product by product: a group of eight has four pairs, and the last three products no partner."""
    op = model.operators[0]
    given, weights, bias = (model.tensors[i] for i in op.inputs)
    zx = int(given.quant.zero_point[0])
    found = np.zeros((len(x), len(weights.data)), np.int64)
    for row, unit in itertools.product(range(len(x)), range(len(weights.data))):
        total = 0
        products = [(int(a) + 128) * int(b) for a, b in zip(x[row], weights.data[unit], strict=True)]
        for k in (0, 1, 2, 3, 8, 9, 10, 11):
            total += (products[k] + products[k + 4] + 32768) % 65536 - 32768
        total += products[16] + products[17] + products[18]
        total -= (zx + 128) * int(weights.data[unit].astype(np.int64).sum())
        found[row, unit] = total + int(bias.data[unit])
    return found


def test_run_sums_as_the_pairs_say(model, x, runtime):
    trace = lastbit.run(model, x, runtime)
    np.testing.assert_array_equal(trace[0].acc, by_hand(model, x))
    whole = lastbit.run(model, x, "tflm")
    assert (trace[0].acc != whole[0].acc).any()
    assert ((trace[0].acc - whole[0].acc) % 65536 == 0).all()
    assert_bitexact(trace.output, model, x, runtime)


@pytest.mark.parametrize("engine", ["numpy", "jit", "auto"])
def test_engines_run_it_as_the_reference_does_and_say_what_they_lack(model, x, runtime, engine):
    if engine == "jit":
        pytest.importorskip("numba")
    built = lastbit.build(model, runtime, engine=engine)
    np.testing.assert_array_equal(built(x), lastbit.run(model, x, runtime).output)
    (reason,) = built.as_reference.values()
    assert "products = Pairs(partner=4, overflow='wrap16'" in reason
    assert not lastbit.build(model, "tflm", engine=engine).as_reference


def test_explain_works_the_pairs_out(model, x, runtime):
    trace = lastbit.run(model, x, runtime)
    row, unit = np.argwhere(trace[0].acc != lastbit.run(model, x, "tflm")[0].acc)[0]
    report = lastbit.explain(model, x, at=(int(row), int(unit)), runtime=runtime)
    data = report.as_dict()["accumulation"]
    assert data["acc"] == trace[0].acc[row, unit] == data["total"] + data["lost_to_wrapping"]
    assert {pair["kept"] - pair["total"] for pair in data["wrapped_pairs"]} <= {65536, -65536}
    text = " ".join(str(report).split())
    assert "two products 4 places apart in 16 bits" in text
    assert "do not fit and wrap" in text or "does not fit and wraps" in text
    assert "VPMADDUBSW" not in text
    assert "wrap}_{16}" in report.latex()
    count = len(data["wrapped_pairs"])
    assert f"products 4 places apart are added in 16 bits here, and {count} such sum" in text


def test_inspect_and_prepare_warn(model, runtime):
    (entry,) = lastbit.prepare(model, runtime).operators.values()
    assert any("products 4 places apart in 16 bits, which wrap" in note for note in entry.notes)
    assert "VNNI" not in " ".join(entry.notes)
    coverage = inspect(model, runtimes=[runtime]).as_dict()["operators"][0]["coverage"]["made-up-fourth"]
    assert coverage["rule"] == entry.rule
    rules = (rule for other in RUNTIMES.values() for rule in other.rules.values())
    assert entry.rule not in {rule.name for rule in rules if isinstance(rule, Rule)}


def test_verbs_about_accumulators_say_why_there_is_no_table(model, runtime):
    assert "can wrap in 16 bits" in lastbit.thresholds(model, runtime).as_dict()["not_covered"][0]["reason"]
    assert "can wrap in 16 bits" in lastbit.vectors(model, runtime).layers[0].refusal
    calm = dense(np.full((5, DEPTH), 60, np.int8))
    assert lastbit.thresholds(calm, runtime).layers[0].tables.table(0) is not None
    found = lastbit.vectors(calm, runtime)
    assert found.layers[0].catches
    assert "knows no interpreter that calculates as made-up-fourth does" in found.unconfirmed


def test_compare_shows_an_input(model, runtime):
    found = lastbit.compare(model, runtime, "tflm")
    (layer,) = found.layers
    assert layer.status == "differs"
    assert "products 4 places apart can wrap in 16 bits" in layer.why
    outputs = [lastbit.run(model, layer.witness.x[None], side).output for side in (runtime, "tflm")]
    assert [int(y[0, layer.witness.unit]) for y in outputs] == [layer.witness.first, layer.witness.second]
    neighbours = lastbit.compare(model, runtime, made_up_neighbours())
    assert "neighbouring products can saturate and products 4 places apart can wrap" in neighbours.layers[0].why


def made_up_neighbours():
    cpu = Cpu(
        name="made-up-next",
        title="the same in pairs of neighbours",
        platform="a CPU of this test",
        sources=("this test",),
        like="made-up",
        products=NEIGHBOURS,
        in_products=INT8,
    )
    return Interpreter(Mode("none", "", "", ("none", "-")), (WHOLE, cpu)).runtimes["made-up-next"]


def test_diagnose_knows_it_and_a_mistake_on_top_of_it(model, x, runtime):
    wanted = lastbit.run(model, x, runtime).output
    assert lastbit.diagnose(model, x, wanted, runtime=runtime).verdict == "right"
    entry = prepare_operator(model, model.operators[0], runtime)
    mine = wrong_output(entry, x, ["output_zero_point_missing"])
    found = lastbit.diagnose(model, x, mine, runtime=runtime)
    assert "output_zero_point_missing" in [m.name for m in found.mistakes]
    # The mistakes' own arithmetic of a layer without any is the layer's.
    np.testing.assert_array_equal(wrong_output(entry, x, []), wanted)


def test_identify_names_it(model, x, runtime):
    wanted = lastbit.run(model, x, runtime).output
    found = lastbit.identify(model, x, wanted, runtimes=[runtime, RUNTIMES["tflm"], made_up_neighbours()])
    assert found.groups == (("made-up-fourth",),)


def test_evaluate_counts_with_it(model, x, runtime):
    report = evaluate(model, x, runtimes=[runtime, "tflm"], engine="numpy")
    differing = (lastbit.run(model, x, runtime).output != lastbit.run(model, x, "tflm").output).any(axis=-1).sum()
    assert report.as_dict()["rows"] == len(x)
    assert str(differing) in json.dumps(report.as_dict())


def test_bench_times_it_and_says_what_the_engine_lacks(model, runtime):
    report = bench(model, runtimes=[runtime], batches=(2,), engine="numpy", seconds=0.01)
    assert "LastBit made-up-fourth" in [row.name for row in report.rows]
    assert "products = Pairs(partner=4" in " ".join(str(report).split())
    assert list(report.as_dict()["run_as_reference"]) == ["LastBit made-up-fourth"]


@pytest.mark.parametrize("verb", [lambda m, r: lastbit.verify(m, [r]), lastbit.prove], ids=["verify", "prove"])
def test_verbs_that_need_an_interpreter_say_that_there_is_none(model, runtime, verb):
    with pytest.raises(OracleMissingError, match="knows no interpreter that calculates as made-up-fourth does"):
        verb(model, runtime)


def test_a_rule_that_an_operator_does_not_have_is_refused_with_the_field(runtime):
    model = dense(np.ones((5, DEPTH), np.int8), dtype="int16")
    key = "FULLY_CONNECTED", dense_variant(model, model.operators[0])
    wide = replace(runtime, rules={key: next(iter(runtime.rules.values()))})
    with pytest.raises(UnsupportedError, match="products = Pairs"):
        lastbit.run(model, np.zeros((1, DEPTH), np.int16), wide)


def test_the_two_readers_agree_on_every_kind_of_pairs():
    rng = random.Random(5)
    kinds = itertools.product((1, 2, 3, 4, 8), ("saturate16", "wrap16"), ("paired", "alone"))
    for partner, overflow, last_group in kinds:
        pairs = Pairs(partner, overflow, last_group)
        for depth in (1, 2, 7, 8, 9, 16, 20, 33):
            fill = last_group == "paired"
            x, w = [rng.choice((0, 200, 255)) for _ in range(depth)], [rng.choice((-128, 127, 3)) for _ in range(depth)]
            sums = list(pair_sums(pairs, x, w))
            assert [s.place for s in sums] == first_places(depth, partner, fill).tolist()
            assert pair_count(pairs, depth) == len(sums)
            found = overflowing_pairs(np.asarray([w]), 0, 0, partner=partner, overflow=overflow, fill=fill)
            lost, count = (0, 0) if found is None else (int(v[0, 0]) for v in found.lost(np.asarray([x])))
            assert lost == sum(s.kept - s.total for s in sums)
            assert count == sum(s.kept != s.total for s in sums)


@pytest.mark.parametrize("partner", [0, -1])
def test_a_partner_stands_behind(partner):
    with pytest.raises(ValueError, match="partner"):
        Pairs(partner, "wrap16")
