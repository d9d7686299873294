"""A user's own function: what its parameters mean, on which shape it is called, and what is said where it fails."""

import functools
import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import lastbit
from bench.user_layers import model_of
from lastbit.cli import main
from lastbit.model.errors import InputError
from lastbit.model.tflite import write
from lastbit.verbs.diagnose.names import PARAMETERS, meanings
from lastbit.verbs.diagnose.verb import diagnose
from tests.support.models import make_dense_model

MODEL = make_dense_model(units=5, depth=9, output_scale=0.1, seed=4)


def truncates(q1, w, b, zx, m, zy):
    acc = (q1.astype(np.int32) - zx) @ w.astype(np.int32).T + b
    return np.clip((acc * m).astype(int) + zy, -128, 127)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("q_in q_w s_in zp_in s_w zp_w s_out zp_out bias", "x weights input_scale input_zero_point weights_scale "
         "weights_zero_point output_scale output_zero_point bias"),
        ("a b a_scale a_zero_point b_scale b_zero_point y_scale y_zero_point bias", "x weights input_scale "
         "input_zero_point weights_scale weights_zero_point output_scale output_zero_point bias"),
        ("act wgt in_zp outZp W b0", "x weights input_zero_point output_zero_point - bias"),
        ("lhs_input fc_weight zeroPointIn scaleOut", "x weights input_zero_point output_scale"),
        ("s1 z1 gain acc_in", "- - - -"),
    ],
)  # fmt: skip
def test_names_are_understood(given, wanted):
    found = meanings(given.split())
    assert [found.get(name, "-") for name in given.split()] == wanted.split()


def test_every_name_of_the_table_means_what_the_table_says():
    for meaning, names in PARAMETERS.items():
        for name in names:
            assert meanings([name]) == {name: meaning}


def test_one_parameter_is_the_input_and_the_only_unknown_one_as_well():
    report = lastbit.diagnose(MODEL, None, lambda sample: lastbit.run(MODEL, sample, runtime="litert-xnnpack").output)
    assert report.verdict == "right"
    report = lastbit.diagnose(MODEL, None, truncates)
    assert [m.name for m in report.mistakes] == ["rounding_truncated"]
    assert "truncates (q1 as x)" in report.given.input_source


def test_an_unknown_name_is_matched_where_one_meaning_alone_comes_near():
    def mine(x, w, b, zx, zy, gain):
        return truncates(x, w, b, zx, gain, zy)

    report = lastbit.diagnose(MODEL, None, mine)
    assert [m.name for m in report.mistakes] == ["rounding_truncated"]
    assert "gain as effective_scale" in report.given.input_source


def numbers(q1, q2, s1, z1, s2, s3, z3, b):
    acc = (q1.astype(np.int32) - z1) @ q2.astype(np.int32).T + b
    return np.clip(np.trunc(acc * (s1 * s2 / s3)) + z3, -128, 127).astype(np.int8)


def turned(q1, q2, s3, z3, s2, s1, z1, b):  # here 1 is the output
    return numbers(q1, q2, s3, z3, s2, s1, z1, b)


def test_numbers_are_input_weights_and_output_where_the_output_comes_near():
    report = lastbit.diagnose(MODEL, None, numbers)
    assert [m.name for m in report.mistakes] == ["rounding_truncated"]
    assert "s1 as input_scale, z1 as input_zero_point, s2 as weights_scale, s3 as output_scale" in str(report)
    with pytest.raises(InputError, match=r"q2.: .weights., .s3.: .output_scale., .z3.: .output_zero_point., .s2."):
        lastbit.diagnose(MODEL, None, turned)


def test_names_that_tell_nothing_are_asked_for_and_taken():
    def mine(x, w, b, p, q1, r, t, u):
        return truncates(x, w, b, q1, p * r / t, u)

    with pytest.raises(InputError, match=r"parameters 'p', 'q1', 'r', 't', 'u', .*params=\{\"p\": "):
        lastbit.diagnose(MODEL, None, mine)
    said = {"p": "input_scale", "r": "weights_scale", "t": "output_scale", "q1": "input_zero_point"}
    report = lastbit.diagnose(MODEL, None, mine, params=said | {"u": "output_zero_point"})
    assert [m.name for m in report.mistakes] == ["rounding_truncated"]
    with pytest.raises(InputError, match="params says 'p' is 'scale'; wanted one of: x, weights"):
        lastbit.diagnose(MODEL, None, mine, params={"p": "scale"})
    with pytest.raises(InputError, match="params says what 'nope' is, and mine has the parameters x, w"):
        lastbit.diagnose(MODEL, None, mine, params={"nope": "bias"})


def test_a_function_is_called_on_the_shape_it_takes():
    model = make_dense_model(units=5, depth=6, input_shape=(1, 4, 6), keep_num_dims=True)

    def images_only(x, w, b, zx, m, zy):
        n, rows, depth = x.shape
        return truncates(x.reshape(n * rows, depth), w, b, zx, m, zy).reshape(n, rows, -1)

    def one_image(x, w, b, zx, m, zy):
        assert x.shape == (4, 6)
        return truncates(x, w, b, zx, m, zy)

    def one_row(x, w, b, zx, m, zy):
        return [int(truncates(x[None], w, b, zx, m, zy)[0, unit]) for unit in range(5) if x.ndim == 1 or 1 / 0]

    for function in (images_only, one_image, one_row):
        assert [m.name for m in lastbit.diagnose(model, None, function).mistakes] == ["rounding_truncated"]


def test_the_command_takes_a_function_from_a_file(tmp_path):
    model, code = tmp_path / "model.tflite", tmp_path / "mine.py"
    model.write_bytes(write(MODEL.subgraphs[0]))
    code.write_text(
        "import numpy as np\nimport beside\n\n\ndef mine(x, w, b, zx, s1, sw, sy, zy):\n"
        "    acc = (x.astype(int) - zx) @ w.T.astype(int) + b\n"
        "    return beside.clamped(np.floor(acc * (s1 * sw / sy)) + zy)\n\n\ndef broken(x):\n    return x.nope\n"
    )
    (tmp_path / "beside.py").write_text("def clamped(v):\n    return v.clip(-128, 127)\n")

    def asked(*arguments):
        return CliRunner().invoke(main, ["diagnose", str(model), *arguments])

    done = asked("--code", f"{code}:mine", "--param", "s1=input_scale")
    assert done.exit_code == 1
    assert "rounding_floor" in done.output
    assert str(tmp_path) not in sys.path
    failed = asked("--code", f"{code}:broken")
    assert failed.exit_code == 2
    assert f"{code}:11: AttributeError" in failed.stderr
    assert "it has mine, broken" in asked("--code", f"{code}:no").stderr
    assert "has several functions" in asked("--code", str(code)).stderr
    assert "no such file" in asked("--code", f"{tmp_path / 'no.py'}:mine").stderr
    assert "wanted NAME=MEANING" in asked("--code", f"{code}:mine", "--param", "s1").stderr
    assert asked("--code", f"{code}:mine", "--output", "y.npy").exit_code == 2
    assert asked().exit_code == 2
    code.write_text("1 / 0\n")
    assert f"{code}:1: ZeroDivisionError" in asked("--code", str(code)).stderr


def test_offsets_are_added_as_in_tflm_and_where_code_subtracts_them_that_is_found_out():
    def added(x, w, b, input_offset, output_offset, output_multiplier, output_shift):
        acc = (x.astype(np.int64) + input_offset) @ w.astype(np.int64).T + b
        total = 31 - output_shift
        return np.clip(((acc * output_multiplier) >> total) + output_offset, -128, 127)

    def subtracted(x, w, b, input_offset, filter_offset, zy, m):
        return truncates(x, w.astype(np.int32) - filter_offset, b, input_offset, m, zy)

    report = lastbit.diagnose(MODEL, None, added)
    assert [m.name for m in report.mistakes] == ["rounding_floor"]
    assert "input_offset as" not in report.given.input_source
    report = lastbit.diagnose(MODEL, None, subtracted)
    assert [m.name for m in report.mistakes] == ["rounding_truncated"]
    assert "input_offset as input_zero_point" in report.given.input_source


@pytest.mark.parametrize("name", ["shift", "rshift"])
def test_a_shift_to_the_right_of_the_whole_product_is_found_out(name):
    made = {}
    exec(  # a function whose parameter has this name
        f"def mine(x, w, b, zx, zy, mult, {name}):\n"
        "    acc = (x.astype('int64') - zx) @ w.astype('int64').T + b\n"
        f"    return (((acc * mult) >> {name}) + zy).clip(-128, 127)\n",
        made,
    )
    report = lastbit.diagnose(MODEL, None, made["mine"])
    assert [m.name for m in report.mistakes] == ["rounding_floor"]
    assert f"{name} as total_right_shift" in report.given.input_source


HYBRID = model_of("hybrid_channels")


def product(x, weights, bias, scale):
    return x @ (weights.astype(np.float32) * np.reshape(scale, (-1, 1))).T + bias


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda q, weights, bias, scale: product(q, weights, bias, scale), "q as x, scale as weights_scale"),
        (lambda inp, kern, foo, bar: product(inp, kern, foo, bar), "inp as x, kern as weights, foo as bias, bar as"),
        (lambda a, b, c, d: product(a, b, c, d), "c as bias, d as weights_scale"),
    ],
)
def test_a_name_for_what_a_layer_does_not_have_may_be_another_thing(function, said):
    report = lastbit.diagnose(HYBRID, None, function)  # q is the multiplier of layers that have one
    assert [m.name for m in report.mistakes] == ["hybrid_input_not_quantized"]
    assert said in report.input_source


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x, w, x_scale: x, r"wants 'x_scale', and the layer has no input_scale: its input is float32, so"),
        (lambda x, w, shift: x, r"no shift: its output is float32. .*--param shift=MEANING. .* x, weights, bias"),
    ],
)
def test_what_a_layer_does_not_have_is_said_with_its_reason(function, said):
    with pytest.raises(InputError, match=said):
        lastbit.diagnose(HYBRID, None, function)


def test_a_wrong_word_in_params_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'input_scale'"):
        lastbit.diagnose(MODEL, None, truncates, params={"m": "inptu_scale"})
    with pytest.raises(InputError, match="Did you mean 'zx'"):
        lastbit.diagnose(MODEL, None, truncates, params={"zxx": "bias"})


def added(a, b, s1, z1, s2, z2, s3, z3):
    real = (a.astype(np.float64) - z1) * s1 + (b.astype(np.float64) - z2) * s2
    return np.clip((real / s3).astype(int) + z3, -128, 127).astype(np.int8)


@pytest.mark.parametrize(
    "function",
    [
        added,
        lambda x, y, sx, zx, sy, zy, so, zo: added(x, y, sx, zx, sy, zy, so, zo),
        lambda lhs, rhs, lhs_scale, lhs_zp, rhs_scale, rhs_zp, out_scale, out_zp: added(
            lhs, rhs, lhs_scale, lhs_zp, rhs_scale, rhs_zp, out_scale, out_zp
        ),
        lambda x, y, sx, zx, k, zy, so, zo: added(x, y, sx, zx, k, zy, so, zo),
    ],
)
def test_an_operator_of_two_inputs_takes_a_function_of_both(function):
    report = lastbit.diagnose(model_of("add"), None, function)
    assert [m.name for m in report.mistakes] == ["rounding_truncated"]


def test_parameters_of_an_operator_that_are_not_clear_are_asked_for():
    model = model_of("add")
    for function, said in (
        (lambda a, b, k, n: a, r"has 'k', 'n': what that means is not clear. Say it: params={\"k\": "),
        (lambda s1, z1: s1, r"no parameter for an input: .* the model has 2 inputs, x1, x2"),
        (lambda a: a, "would get one input, and the model has 2"),
    ):
        with pytest.raises(InputError, match=said):
            lastbit.diagnose(model, None, function)
    with pytest.raises(InputError, match="Did you mean 'input_scale_2'"):
        lastbit.diagnose(model, None, lambda a, b, k: a, params={"k": "input_scale_3"})
    given = {"p": "input_scale_1", "q": "input_zero_point_1"}
    report = lastbit.diagnose(
        model, None, lambda a, b, p, q, s2, z2, s3, z3: added(a, b, p, q, s2, z2, s3, z3), params=given
    )
    assert [m.name for m in report.mistakes] == ["rounding_truncated"]


def right(x):
    return lastbit.run(MODEL, x, runtime="litert-xnnpack").output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda x: None, "gives None; does it end with `return`"),
        (lambda x: (right(x), 3), "gives a tuple of 2 values; wanted one array"),
        (lambda x: [[1, 2], [3]], "gives rows of different lengths"),
        (lambda x: [[10**30] * 5 for _ in x], "gives whole numbers that no 64 bits hold"),
        (lambda x: right(x).astype(str), "gives <U"),
        (lambda x: sys.exit(0), r"SystemExit: 0"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused_in_words(given, said):
    with pytest.raises(InputError, match=said):
        lastbit.diagnose(MODEL, None, given)


def test_a_coroutine_is_refused_in_words():
    async def mine(x):
        return right(x)

    with pytest.raises(InputError, match=r"is a coroutine \(async def\)"):
        lastbit.diagnose(MODEL, None, mine)


def test_many_ways_to_write_a_function_are_taken():
    def yields(x):
        yield from right(x)

    def decorated(*args, **kwargs):
        return right(*args, **kwargs)

    def objects(x):
        return right(x).astype(object)

    class Layer:
        def __call__(self, x):
            x_before = x.copy()
            x[:] = 0
            return memoryview(right(x_before))

    for function in (yields, decorated, objects, Layer(), Layer().__call__, functools.partial(right)):
        assert lastbit.diagnose(MODEL, None, function).verdict in ("right", "form")


def test_a_function_that_answers_in_two_ways_is_said_to():
    calls = []

    def counts(x):
        calls.append(1)
        return right(x) ^ (len(calls) % 2)

    report = diagnose(MODEL, None, counts, runtime="litert-xnnpack", most=1)
    assert "answers the same input in two ways" in report.given.input_source
    assert "two ways" not in lastbit.diagnose(MODEL, None, right).given.input_source


def test_values_beyond_every_integer_are_no_steps():
    report = diagnose(MODEL, None, lambda x: right(x) * 1e300, runtime="litert-xnnpack", most=1)
    assert not report.right


def test_classes_of_a_file_are_made_and_what_they_print_is_no_part_of_the_report(tmp_path):
    model, code = tmp_path / "model.tflite", tmp_path / "mine.py"
    model.write_bytes(write(MODEL.subgraphs[0]))
    code.write_text(
        "import numpy as np\nprint('imported')\n\n\nclass Net:\n    def forward(self, x, w, b, zx, m, zy):\n"
        "        print('called')\n        acc = (x.astype(int) - zx) @ w.T.astype(int) + b\n"
        "        return np.clip(np.floor(acc * m) + zy, -128, 127)\n\n\n"
        "class Sized:\n    def __init__(self, n):\n        pass\n"
    )

    def asked(name):
        return CliRunner().invoke(main, ["diagnose", str(model), "--code", f"{code}:{name}", "--json"])

    done = asked("Net.forward")
    assert done.exit_code == 1, done.output
    assert json.loads(done.stdout)["explanations"][0]["mistakes"][0]["name"] == "rounding_floor"
    failed = asked("Sized")
    assert failed.exit_code == 2
    assert "Sized cannot be made without arguments" in failed.stderr
    code.write_text("import sys\nsys.exit(0)\n")
    failed = asked("Net")
    assert failed.exit_code == 2
    assert f"{code}:2: SystemExit" in failed.stderr
