"""Diagnose never misleads: known faults, what was never written, ties, doubts, reused memory, inputs in question."""

import itertools
import json

import numpy as np
import pytest
from click.testing import CliRunner

import lastbit
from lastbit.cli import main
from lastbit.layers.mistakes import MISTAKES, wrong_output
from lastbit.layers.mistakes.base import Case
from lastbit.model.errors import UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.prepare import prepare_operator
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.diagnose.shortened import one_of, same_number
from lastbit.verbs.diagnose.target import Reproduction
from tests.support.explain_models import dense_model, flat
from tests.support.models import make_dense_model

diagnose = lastbit.diagnose


def dense(seed, units, depth, *, output_scale=0.3, bias=True, **options):
    """A dense layer with weights and inputs of any type."""
    rng = np.random.default_rng(seed)
    kinds = {"int8": (-128, 128), "uint8": (0, 256), "int4": (-8, 8)}
    low, high = kinds[options.get("weights_dtype", "int8")]
    weights = rng.integers(low, high, (units, depth))
    graph = dense_subgraph(
        options.pop("weights", weights),
        input_quant=quant(0.03, options.pop("zx", 3)),
        weights_quant=quant(options.pop("weights_scale", 0.01), options.pop("zw", 0)),
        output_quant=quant(output_scale, options.pop("zy", 5)),
        bias=rng.integers(-900, 900, units) if bias else None,
        **options,
    )
    return load(write(graph))


def rows(model, count, seed=0):
    tensor = model.inputs[0]
    rng = np.random.default_rng(seed)
    shape = (count, *tensor.shape[1:])
    return rng.integers(tensor.dtype.qmin, tensor.dtype.qmax, shape, tensor.dtype.numpy, endpoint=True)


def printing(model, x, output):
    """The runtimes that print this."""
    found = []
    for name in RUNTIMES:
        try:
            found += [name] if np.array_equal(lastbit.run(model, x, name).output, output) else []
        except UnsupportedError:
            continue
    return found


UINT8_INT8 = {"input_dtype": "uint8", "weights_dtype": "int8"}
PAIRS = "neighbouring products are added in 16 bits, which saturate"
FAULTS = {
    "pairs": (dense(0, 1, 9, zx=120, **UINT8_INT8), "torch-fbgemm-avx2", "torch-fbgemm", PAIRS),
    "pairs, several units": (dense(1, 6, 40, zx=7, **UINT8_INT8), "onnxruntime-avx2", "onnxruntime", PAIRS),
    "pairs, a scale each": (
        dense(2, 5, 17, weights_scale=np.linspace(0.004, 0.01, 5), **UINT8_INT8),
        "torch-fbgemm-avx2",
        "torch-fbgemm",
        PAIRS,
    ),
    "zero point": (
        dense(3, 4, 24, zw=6),
        "litert-xnnpack-arm64@2.0.2",
        "tflm",
        "the weights' zero point 6 is ignored",
    ),
    "zero point, wide": (
        dense(4, 11, 70, zw=-19, output_scale=0.9),
        "litert-xnnpack-arm64-neon@2.0.2",
        "litert-reference",
        "the weights' zero point -19 is ignored",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_kernels_known_fault_is_called_a_fault(case):
    model, faulty, right, fault = FAULTS[case]
    x = rows(model, 60)
    mine = lastbit.run(model, x, faulty).output
    older = "@" in faulty  # a version is looked at where it is asked for
    names = [faulty] if older else printing(model, x, mine)
    assert right not in names
    for asked in [faulty] if older else [None, faulty]:
        report = diagnose(model, x, mine, runtime=asked)
        text = flat(report)
        assert report.verdict == "right"
        assert report.fault == report.as_dict()["fault"] == fault
        assert f"with a known fault of {'its kernel' if len(names) == 1 else 'their kernels'}: {fault}." in text
        assert "Nothing is wrong" not in text
        assert "fault" in repr(report)
        assert set(report.explanation.runtimes) == set(names)
        assert all(name in text for name in names)
    if not older:
        other = diagnose(model, x, mine, runtime=right)
        assert other.verdict == "other runtime"
        assert f"by a known fault of {faulty if len(names) == 1 else names[0]}" in flat(other)
        assert "round differently" not in flat(other)
    # The other way round: right numbers, compared with the faulty kernel.
    back = diagnose(model, x, lastbit.run(model, x, right).output, runtime=faulty)
    assert f"They differ by a known fault of {faulty}: {fault}." in flat(back)
    assert back.fault == ""


def test_a_fault_that_these_data_do_not_show_is_none():
    model = FAULTS["pairs, several units"][0]
    x = np.full((3, 40), 7, np.uint8)
    report = diagnose(model, x, lastbit.run(model, x, "torch-fbgemm-avx2").output)
    assert report.fault == ""
    assert "Nothing is wrong" in str(report)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("litert-xnnpack", "tflm", "The two round differently."),
        ("litert-xnnpack-avx2", "litert-reference", "The two round differently."),
        ("litert-xnnpack", "litert-xnnpack-avx2", "The two differ only where a value leaves the range of int32."),
    ],
)
def test_two_runtimes_round_differently_only_where_they_do(one, other, words):
    # Every other value is a tie; the last unit's leaves int32, and with the zero point it wraps or saturates.
    first = {
        "w": np.random.default_rng(0).integers(-2, 3, (6, 9)),
        "b": [1, 2, 3, 4, 5, -2_000_000_000],
        "sx": 0.5,
        "sw": np.float32([0.25] * 5 + [1024.0]),
        "sy": 4.0,
        "zy": -5,
    }
    model = load(dense_model(first))
    x = rows(model, 50)
    report = diagnose(model, x, lastbit.run(model, x, one).output, runtime=other)
    assert report.verdict == "other runtime"
    assert words in flat(report)


UNWRITTEN = {
    "int8, three dimensions": ({"input_shape": (1, 30, 6), "keep_num_dims": True}, 0),
    "uint8": ({"input_dtype": "uint8", "weights_dtype": "uint8", "zx": 130, "zy": 120, "zw": 128}, 0),
    "int16": (
        {"input_dtype": "int16", "weights_dtype": "int8", "zx": 0, "zy": 0, "output_scale": 0.01, "bias": False},
        77,
    ),
}


@pytest.mark.parametrize("kind", UNWRITTEN)
@pytest.mark.parametrize("axis", ["row", "unit"])
def test_rows_and_units_that_were_never_written_are_told(kind, axis):
    options, constant = UNWRITTEN[kind]
    model = dense(5, 8, 6, **options)
    x = rows(model, 1 if len(model.inputs[0].shape) == 3 else 30)
    mine = lastbit.run(model, x).output.copy()
    flat_mine = mine.reshape(-1, 8)
    (flat_mine if axis == "row" else flat_mine.T)[3:] = constant
    report = diagnose(model, x, mine)
    assert (report.verdict, report.exit_code) == ("unwritten", 1)
    assert report.unwritten.axis == axis
    assert report.unwritten.indices == tuple(range(3, 30 if axis == "row" else 8))
    of = 30 if axis == "row" else 8
    text = flat(report)
    assert f"{axis.capitalize()}s 3 to {of - 1} of {of} hold one constant, {constant}: they were never written." in text
    assert "The rest is right" in text
    assert "never written" in repr(report)
    assert report.as_dict()["unwritten"]["value"] == constant


def test_a_mistake_in_the_rows_that_were_written_is_still_named():
    model = make_dense_model(units=6, depth=11, per_channel=True, output_scale=0.018, seed=2)
    x = rows(model, 60)
    mine = wrong_output(prepare_operator(model, model.operators[0], "tflm"), x, ["bias_missing"])
    mine[40:] = 0
    report = diagnose(model, x, mine)
    assert report.verdict == "mistakes"
    assert report.explanation.mistakes == ("bias_missing",)
    assert "Rows 40 to 59 of 60 hold one constant, 0" in flat(report)
    assert "reproduces all 240 elements" in flat(report)
    assert report.element()[0] < 40


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_that_a_mistake_makes_constant_are_not_called_unwritten(seed):
    """A bias that is lost leaves the zero point in rows of small inputs; an unknown mistake hides that."""
    model = dense(seed, 6, 20 + seed)
    x = rows(model, 60, seed)
    x[[3, 4, 9, 30, 31]] = 3  # the input's zero point
    acc = lastbit.run(model, x, "litert-reference")[0].acc - model.tensors[2].data
    factor = 0.03 * 0.01 / 0.3
    mine = np.clip(np.rint(acc * factor * 1.07) + 5, -128, 127).astype(np.int8)
    report = diagnose(model, x, mine, most=1)
    assert report.verdict == "unexplained"
    assert report.unwritten is None
    assert "never written" not in str(report)
    # Half of the rows in one block are told all the same.
    mine[30:] = 99
    block = diagnose(model, x, mine, most=1)
    assert block.verdict == "unexplained"
    assert "Rows 30 to 59 of 60 hold one constant, 99" in flat(block)


def test_units_that_two_mistakes_clamp_are_not_called_unwritten():
    rng = np.random.default_rng(3)
    weights = rng.integers(-60, 61, (8, 20))
    weights[:3] = 100 + rng.integers(0, 9, (3, 20))  # without their bias these units are clamped in every row
    bias = np.where(np.arange(8) < 3, -128 * 20 * 104, 0)
    scales = {"input_quant": quant(0.03, -128), "weights_quant": quant(0.01), "output_quant": quant(0.3, 5)}
    model = load(write(dense_subgraph(weights, bias=bias, **scales)))
    x = rows(model, 30)
    unrounded = (x.astype(np.int64) + 128) @ weights.T * (0.03 * 0.01 / 0.3)
    mine = np.clip(np.floor(unrounded) + 5, -128, 127).astype(np.int8)
    assert (mine[:, :3] == 127).all()
    report = diagnose(model, x, mine)
    assert report.explanation.mistakes == ("bias_missing", "rounding_floor")
    assert report.unwritten is None


def test_right_constants_are_no_unwritten_rows():
    model = make_dense_model(units=6, depth=11, activation="RELU6", seed=2, output_scale=0.0002)
    x = rows(model, 40)
    x[10:30] = 3  # the zero point: the same row twenty times
    report = diagnose(model, x, lastbit.run(model, x).output)
    assert report.verdict == "right"
    assert report.unwritten is None


@pytest.mark.parametrize(("seed", "dtype"), [(0, "int8"), (1, "uint8"), (2, "int8")])
def test_differences_that_are_all_next_to_a_tie_are_told_as_such(seed, dtype):
    options = {} if dtype == "int8" else {"input_dtype": "uint8", "weights_dtype": "uint8", "zw": 128, "zy": 120}
    model = dense(seed, 7 + seed, 30, **options)
    x = rows(model, 900)
    right = lastbit.run(model, x, "litert-reference")
    entry = prepare_operator(model, model.operators[0], "litert-reference")
    value = right[0].acc * entry.requant.effective_scale
    distance = np.abs(value - np.floor(value) - 0.5)
    inside = (np.abs(value) < 100).reshape(-1)
    places = np.argsort(np.where(inside, distance.reshape(-1), 9))[[0, 2, 3, 5, 9]]  # no rule that is known
    mine = right.output.copy()
    step = np.where(value.reshape(-1)[places] - np.floor(value.reshape(-1)[places]) < 0.5, 1, -1)
    mine.reshape(-1)[places] = (mine.reshape(-1)[places].astype(int) + step).astype(mine.dtype)
    report = diagnose(model, x, mine, runtime="litert-reference", most=1)
    assert report.verdict == "unexplained"
    assert report.tie_distance == pytest.approx(distance.reshape(-1)[places].max())
    text = flat(report)
    assert "Each of the 5 wrong elements is off by one and lies within" in text
    assert "real numbers in another order" in text
    assert "Nearest:" not in text
    # One that is far from any tie: then it is not that.
    far = int(np.argsort(np.where(inside, -distance.reshape(-1), 9))[0])
    mine.reshape(-1)[far] += 1
    assert diagnose(model, x, mine, runtime="litert-reference", most=1).tie_distance is None


def test_what_no_input_tells_apart_is_no_doubt():
    model = make_dense_model(units=6, depth=11, output_scale=0.018, seed=2, per_channel=True)
    x = rows(model, 90)
    seen = 0
    for runtime in ("tflm", "litert-reference"):
        prepared = prepare_operator(model, model.operators[0], runtime)
        for name in ("bias_missing", "output_zero_point_missing", "shift_sign_flipped", "rounding_floor"):
            report = diagnose(model, x, wrong_output(prepared, x, [name]), runtime=runtime)
            text = flat(report)
            decided = all(tie.separation is None for tie in report.ties)
            assert ("These data do not decide" in text) != decided
            assert "as good an answer" not in text
            for tie in report.ties:
                told = " + ".join(tie.other.mistakes) + " (as" in text
                assert told == (tie.separation is not None)
            seen += decided
    assert seen


def test_wrong_accumulators_are_counted():
    model = make_dense_model(units=8, depth=11, output_scale=0.3, seed=2)
    x = rows(model, 16)
    run = lastbit.run(model, x, "litert-reference")
    acc = run[0].acc - prepare_operator(model, model.operators[0], "tflm").layer.bias_values
    report = diagnose(model, x, run.output, acc=acc)
    assert report.wrong == 128
    assert "Only 0 elements" not in str(report)
    assert "by chance" not in str(report)
    assert "0 of 128" in flat(report)


def chain(seed, widths):
    """Dense layers one after the other."""
    rng = np.random.default_rng(seed)
    layers = [
        {
            "w": rng.integers(-127, 128, (new, old)),
            "b": rng.integers(-500, 500, new),
            "sx": 0.05,
            "sw": 0.01,
            "sy": 0.05,
        }
        for old, new in itertools.pairwise(widths)
    ]
    return load(dense_model(*layers))


@pytest.mark.parametrize(("seed", "widths"), [(0, (16, 16, 16, 16)), (1, (9, 24, 5, 24)), (2, (30, 12, 40, 12))])
def test_memory_that_a_later_operator_wrote_is_told(seed, widths):
    model = chain(seed, widths)
    x = rows(model, 3, seed)
    run = lastbit.run(model, x)
    later = flat(diagnose(model, x, run[2].output, op=0, most=1))
    assert "it is the output of operator 2 FULLY_CONNECTED" in later
    assert "The interpreter reuses memory" in later
    assert "experimental_preserve_all_tensors=True" in later
    earlier = flat(diagnose(model, x, run[0].output, op=2, most=1))
    assert "it is the output of operator 0 FULLY_CONNECTED" in earlier
    assert "reuses memory" not in earlier
    assert "Is the operator the right one?" in earlier


@pytest.mark.parametrize(
    ("options", "scale"),
    [({}, 1.0), ({"input_dtype": "uint8", "weights_dtype": "uint8", "zw": 120}, 2.0), ({"zw": 0, "zx": -1}, 0.9)],
)
def test_an_input_in_question_comes_first(options, scale):
    model = dense(7, 4, 16, **options)
    real = np.random.default_rng(1).uniform(0, scale, (40, 16)).astype(np.float32)
    dtype = model.inputs[0].dtype.numpy
    mine = lastbit.run(model, real.astype(dtype)).output
    report = diagnose(model, real, mine, quantize_input=True)
    assert report.explanation.mistakes == ("input_cast_without_scale",)
    for tie in report.ties:
        assert tie.separation is None or tie.separation.x.dtype == np.float32


def test_the_command_tells_the_fault_and_ends_with_3_where_the_layer_is_not_reached(tmp_path):
    model, faulty, _, fault = FAULTS["zero point"]
    (tmp_path / "m.tflite").write_bytes(model.content)
    x = rows(model, 20)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", lastbit.run(model, x, faulty).output)
    files = [str(tmp_path / name) for name in ("m.tflite", "x.npy", "y.npy")]
    arguments = ["diagnose", files[0], "-i", files[1], "--output", files[2], "--runtime", faulty]
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["fault"] == fault


def test_constants_that_an_array_does_not_tell_apart_are_one_answer():
    graph = dense_subgraph(
        np.random.default_rng(1).integers(-127, 128, (8, 40)),
        input_quant=quant(0.0312345, 3),
        weights_quant=quant(0.0123457),
        output_quant=quant(0.31234567, 5),
        bias=None,
    )
    model = load(write(graph))
    x = rows(model, 60)
    right = (x.astype(np.int64) - 3) @ model.tensors[1].data.astype(np.int64).T
    factor = np.rint(0.0312345 * 0.0123457 / 0.31234567 * 2**20) / 2**20

    report = diagnose(model, x, np.clip(np.rint(right * factor) + 5, -128, 127).astype(np.int8))
    fitting = {mistake.name for mistake in report.one_of}
    assert {"factor_20_fraction_bits", "factor_six_decimals", "scales_four_digits"} <= fitting
    assert report.one_of[0] is report.mistakes[0]
    assert "constant that is kept with too few digits or bits" in str(report)
    assert "the weights' scale: 4 digits, or 5 decimals" in str(report)
    assert "These data do not decide" not in str(report)
    assert json.loads(report.json())["one_of"] == [mistake.name for mistake in report.one_of]

    # Beside another mistake, fewer of them fit.
    report = diagnose(model, x, np.clip(np.trunc(right * factor) + 5, -128, 127).astype(np.int8))
    assert report.explanation.mistakes == ("factor_20_fraction_bits", "rounding_truncated")
    assert [mistake.name for mistake in report.one_of] == ["factor_20_fraction_bits", "multiplier_12_bits"]
    assert "One of them is a constant" in str(report)


def test_one_number_under_two_names_is_decided():
    model = dense(0, 8, 20, output_scale=0.31234567)
    entry = prepare_operator(model, model.operators[0], "tflm")
    case = Case.of(entry, rows(model, 4))
    digits, decimals, four = (
        MISTAKES[f"output_scale_{end}"] for end in ("three_digits", "three_decimals", "four_digits")
    )
    assert same_number(case, digits, decimals)
    assert not same_number(case, digits, four)
    one, same, other = (Reproduction((mistake.name,), ("tflm",), entry) for mistake in (digits, decimals, four))
    assert one_of([one, same], case) == ()
    assert one_of([one, same, other], case) == (digits, decimals, four)
