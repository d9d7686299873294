"""Diagnose of models with several layers: one mistake in all of them, in one, and what was given layer by layer."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import lastbit
from bench.user_code import second_networks
from bench.user_layers import model_of, numbers_of
from lastbit.cli import main
from lastbit.layers.mistakes import wrong_output
from lastbit.model.errors import InputError
from lastbit.model.tflite import write
from lastbit.model.types import FLOAT32
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.diagnose.whole_model import whole_models
from tests.support.models import ModelBuilder

MLP = model_of("mlp")
LAYERS = numbers_of(MLP)
X = np.random.default_rng(4).integers(-128, 128, (24, 32)).astype(np.int8)


def network(x, mistakes, steps=False):
    """NumPy code of the three layers; the mistakes of each by a letter."""
    made = {}
    for i, p in enumerate(LAYERS):
        here = mistakes[i]
        of_first = LAYERS[0] if "o" in here else p
        acc = (x.astype(np.int64) - (0 if "z" in here else of_first["zx"])) @ p["weights"].astype(np.int64).T
        acc = acc + (0 if "b" in here else p["bias"])
        s_x = np.float64(LAYERS[0]["input_scale"] if "s" in here else p["input_scale"])
        v = acc * (s_x * p["weights_scale"].astype(np.float64) / np.float64(p["output_scale"]))
        y = (np.trunc(v) if "t" in here else np.floor(v) if "f" in here else np.rint(v)) + p["zy"]
        x = np.clip(y, p["zy"] if i < 2 else -128, 127).astype(np.int8)
        made[f"dense_{i}"] = x
    return made if steps else x


def names(report):
    return [mistake.name for mistake in report.mistakes]


@pytest.mark.parametrize(
    ("mistakes", "wanted", "where"),
    [
        (("t", "t", "t"), ["rounding_truncated"], "rounding_truncated, in all 3 dense layers"),
        (("", "b", ""), ["bias_missing"], "bias_missing, in operator 1 FULLY_CONNECTED alone"),
        (("", "", "f"), ["rounding_floor"], "rounding_floor, in operator 2 FULLY_CONNECTED alone"),
        (("", "", "o"), ["input_zero_point_of_first_layer"], "in operator 2 FULLY_CONNECTED alone"),
        (("o", "o", "o"), ["input_zero_point_of_first_layer"], "in all 3 dense layers"),
        (("s", "s", "s"), ["input_scale_of_first_layer"], "in all 3 dense layers"),
    ],
)
def test_one_mistake_is_one_answer(mistakes, wanted, where):
    report = lastbit.diagnose(MLP, X, network(X, mistakes))
    assert names(report) == wanted
    assert where in str(report)
    assert report.exit_code == 1
    assert json.loads(report.json())["explanations"][0]["mistakes"][0]["name"] == wanted[0]


def test_two_mistakes_in_every_layer_are_named():
    report = lastbit.diagnose(MLP, X, network(X, ("tb", "tb", "tb")))
    assert sorted(names(report)) == ["bias_missing", "rounding_truncated"]


def test_a_mistake_that_mixes_rows_is_sought_on_all_of_them():
    chain = whole_models(MLP, RUNTIMES["tflm"], MLP.outputs[0].index)[0].on({MLP.inputs[0].index: X})
    made = dict.fromkeys(chain.layers, ("input_column_major",))
    report = lastbit.diagnose(MLP, X, chain.output(made, MLP.outputs[0].index))
    assert names(report) == ["input_column_major"]
    assert report.sets[0].made == made


def test_a_mistake_is_found_where_another_runtime_rounds_otherwise():
    # XNNPACK's average differs in other samples than the mistake's: the wrong ones alone would not show it.
    code = second_networks.mean_rounds_down(numbers_of(model_of("residual")))
    assert names(lastbit.diagnose(model_of("residual"), None, code)) == ["rounding_floor"]


def test_a_mistake_is_found_where_sums_saturate_in_pairs():
    # The sums of this CPU's kernels differ from all others' in many elements.
    made, output = {0: ("bias_missing",)}, MLP.outputs[0].index
    (chain,) = whole_models(MLP, RUNTIMES["torch-fbgemm-avx2"], output)
    report = lastbit.diagnose(MLP, X, chain.on({MLP.inputs[0].index: X}).output(made, output))
    assert report.sets[0].made == made


def test_what_a_mistake_leaves_as_it_is_changes_nothing_after_it():
    chain = whole_models(MLP, RUNTIMES["tflm"], MLP.outputs[0].index)[0].on({MLP.inputs[0].index: X})
    first, *_ = chain.layers
    for name in ("rounding_truncated", "bias_missing", "input_zero_point_missing"):
        (entry,) = (layer for index, layer in chain.layers.items() if index == first)
        changed = chain.values({first: (name,)}, {})
        assert np.array_equal(changed[entry.layer.output.index], wrong_output(entry, X, (name,)))
    assert chain.values({first: ()}, {}) == {}


def test_a_network_that_ends_in_real_values():
    graph = MLP.subgraphs[0]
    build = ModelBuilder(graph)
    (last,) = graph.outputs
    real = build.operator("DEQUANTIZE", [last], [build.like(last, dtype=FLOAT32, quant=None)], version=2)
    model = build.model(graph.inputs, [real])
    right = lastbit.run(model, X, "tflm").output
    assert right.dtype == np.float32
    assert lastbit.diagnose(model, X, right, runtime="tflm").exit_code == 0
    quant = graph.tensors[last].quant
    wrong = (network(X, ("t", "t", "t")) - np.int32(quant.zero_point[0])) * np.float32(quant.scale[0])
    assert names(lastbit.diagnose(model, X, wrong)) == ["rounding_truncated"]


def test_what_is_right_is_right_in_every_form():
    right = network(X, ("", "", ""))
    for array in (right, right.astype(np.int64), right.astype(float)):
        report = lastbit.diagnose(MLP, X, array)
        assert report.verdict == "right"
        assert report.exit_code == 0
    quant = MLP.outputs[0].quant
    report = lastbit.diagnose(MLP, X, (right.astype(float) - int(quant.zero_point[0])) * float(quant.scale[0]))
    assert report.right


def test_arrays_of_the_layers_find_their_operator_and_each_is_diagnosed_from_the_one_before():
    report = lastbit.diagnose(MLP, X, network(X, ("", "zt", "b"), steps=True))
    assert [step.status for step in report.steps] == ["right", "explained", "explained"]
    assert report.steps[1].mistakes == ("input_zero_point_missing", "rounding_truncated")
    assert report.steps[2].mistakes == ("bias_missing",)
    report = lastbit.diagnose(MLP, X, network(X, ("o", "o", "o"), steps=True))
    assert [step.mistakes for step in report.steps] == [None, *2 * [("input_zero_point_of_first_layer",)]]
    given = network(X, ("z", "z", "z"), steps=True)
    report = lastbit.diagnose(MLP, X, {"c": given["dense_2"], "a": given["dense_0"]})
    assert names(report) == ["input_zero_point_missing"]
    assert "This one mistake" in str(report)


def test_a_function_is_called_on_the_model_and_may_give_its_steps():
    assert names(lastbit.diagnose(MLP, None, lambda image: network(image, ("t", "t", "t")))) == ["rounding_truncated"]
    report = lastbit.diagnose(MLP, None, lambda image: network(image, ("", "", "f"), steps=True))
    assert names(report) == ["rounding_floor"]
    assert [step.status for step in report.steps] == ["right", "right", "explained"]


def test_what_nothing_explains_names_the_first_operator_that_differs():
    given = network(X, ("", "", ""), steps=True)
    rng = np.random.default_rng(1)
    given["dense_1"] = np.clip(given["dense_1"] + rng.integers(-9, 10, given["dense_1"].shape), -128, 127)
    report = lastbit.diagnose(MLP, X, given, most=1)
    assert report.verdict == "unexplained"
    assert "The first operator that differs is operator 1 FULLY_CONNECTED" in str(report)
    assert [step.status for step in report.steps][:2] == ["right", "not explained"]


def test_an_array_that_was_never_written_is_not_explained_by_mistakes():
    given = network(X, ("", "", ""), steps=True)
    given["dense_1"] = np.zeros_like(given["dense_1"])
    report = lastbit.diagnose(MLP, X, given)
    assert report.steps[1].status == "never written"
    assert report.verdict == "unexplained"
    assert "operator 1 FULLY_CONNECTED: its array holds one number alone" in str(report)


def test_arrays_that_fit_nothing_are_refused():
    with pytest.raises(InputError, match=r"'y' has shape \[24, 11\], which no operator's output has"):
        lastbit.diagnose(MLP, X, {"y": np.zeros((24, 11), np.int8)})
    with pytest.raises(InputError, match="fails on every shape"):
        lastbit.diagnose(MLP, None, lambda x: x.nope)
    with pytest.raises(InputError, match="not finite"):
        lastbit.diagnose(MLP, X, {"y": np.full((24, 10), np.nan)})


def test_the_command_takes_a_network(tmp_path):
    (tmp_path / "m.tflite").write_bytes(write(MLP.subgraphs[0]))
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "steps.npz", **network(X, ("", "b", ""), steps=True))
    np.save(tmp_path / "y.npy", network(X, ("t", "t", "t")))
    for file, wanted in (("steps.npz", "bias_missing"), ("y.npy", "in all 3 dense layers")):
        asked = ["diagnose", str(tmp_path / "m.tflite"), "-i", str(tmp_path / "x.npy")]
        done = CliRunner().invoke(main, [*asked, "--output", str(tmp_path / file)])
        assert done.exit_code == 1, done.output
        assert wanted in " ".join(done.output.split())


def test_bars_along_the_network_and_where_the_first_array_differs():
    given = network(X[:6], ("", "z", "b"), steps=True)
    report = lastbit.diagnose(MLP, X[:6], given)
    bars, plane, counted = report.pictures()
    shares = [100 * (1 - step.share) for step in report.steps]
    assert list(bars.values) == shares
    assert shares[0] == 0 < shares[1]
    assert bars.marked == [1, 2]
    right = network(X[:6], ("", "", ""), steps=True)["dense_1"]
    assert (plane.values == given["dense_1"].astype(int) - right).all()
    assert sum(counted.values) == right.size
    assert [row["status"] for row in report.records()] == ["right", "explained", "explained"]
    assert report.html("t").count('<tr class="marked">') >= 2


def test_one_array_is_compared_with_the_right_output():
    wrong = network(X, ("t", "t", "t"))
    report = lastbit.diagnose(MLP, X, wrong, runtime="tflm")
    plane, _ = report.pictures()
    assert (plane.values == wrong.astype(int) - lastbit.run(MLP, X, "tflm").output).all()
    assert [row["mistakes"] for row in report.records()] == ["rounding_truncated"] * 3
    assert lastbit.diagnose(MLP, X, network(X, ("", "", ""))).pictures() == []
