"""Exported programs, compiled and held to the real interpreters; and what a wrong copy's self-test says."""

import re
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import lastbit
from lab.reach.c_programs import COMPILERS, compile_program, compiler, outputs_of, selftest_of
from lastbit.model.tflite.synthesize import quant
from lastbit.model.types import IntegerType
from lastbit.oracles import on_this_machine, open_oracle
from tests.support.interpreters import needs_all_interpreters
from tests.support.models import ModelBuilder, make_dense_model
from tests.support.places import MODELS, needs_shared_models

W = np.random.default_rng(20).integers(-127, 128, (6, 20))
B = np.random.default_rng(20).integers(-3000, 3000, 6)
PER_CHANNEL = np.random.default_rng(20).uniform(0.002, 0.01, 6)
SCALES = {"input": (0.02, 3), "weights_scale": 0.005, "output": (0.03, -5)}
DENSE = {
    "int8": ((W.astype(np.int8), B), SCALES | {"activation": "RELU6"}),
    "int8 per-channel": ((W.astype(np.int8), B), SCALES | {"weights_scale": PER_CHANNEL, "input_shape": (1, 4, 20)}),
    "uint8": (
        ((W + 128).astype(np.uint8), B),
        {"input": (0.02, 120), "weights_scale": 0.005, "weights_zero_point": 131, "output": (0.03, 7)},
    ),
    "int4": ((np.clip(W // 16, -7, 7).astype(np.int8), B), SCALES | {"weights_dtype": "int4"}),
    "int16": (
        (W.astype(np.int8), B),
        {"input": (0.0005, 0), "weights_scale": 0.005, "output": (0.002, 0), "dtype": "int16"},
    ),
}
RUNTIMES = [on_this_machine(name) for name in ("tflm", "litert-builtin-x86", "litert-reference", "litert-xnnpack")]


STEMS = ("mlt_kws_ref", "arm_kws_cnn_s", "adi_dtln_int16_1", "tfliters_mnistnet_u8")
WHOLE_MODELS = [(stem, name) for stem in STEMS for name in RUNTIMES if (stem, name) != ("tfliters_mnistnet_u8", "tflm")]
"""TensorFlow Lite Micro does not run the one of uint8."""


def inputs(model, count, seed=20):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        sample = []
        for tensor in model.inputs:
            if isinstance(tensor.dtype, IntegerType):
                low, high = tensor.dtype.qmin, tensor.dtype.qmax
                sample.append(rng.integers(low, high, tensor.shape, tensor.dtype.numpy, endpoint=True))
            else:
                sample.append(rng.normal(0, 2, tensor.shape).astype(np.float32))
        found.append(sample)
    return found


def needs(name):
    if (why := compiler(name)) is not None:
        pytest.skip(why)


@needs_all_interpreters
@pytest.mark.live
@pytest.mark.parametrize("name", DENSE)
def test_a_dense_layer_prints_what_every_real_interpreter_prints(name, tmp_path):
    needs("gcc")
    arguments, options = DENSE[name]
    model = lastbit.dense(*arguments, **options)
    compared = 0
    for runtime in RUNTIMES:
        if lastbit.prepare(model, runtime).refused:
            continue
        report = lastbit.export(model, runtime, name="layer")
        program = compile_program(report, tmp_path)
        assert selftest_of(program) == -1
        samples = inputs(model, 300)
        with open_oracle(runtime) as oracle:
            wanted = oracle.run(model.content, samples).outputs
        for ours, theirs in zip(outputs_of(program, report, samples), wanted, strict=True):
            np.testing.assert_array_equal(ours[0].reshape(theirs[0].shape), theirs[0])
            compared += ours[0].size
    assert compared >= 2 * 300 * 6


@pytest.mark.parametrize("name", COMPILERS)
def test_every_compiler_takes_it_without_a_word(name, tmp_path):
    needs(name)
    model = make_dense_model(units=5, depth=7, per_channel=True)
    report = lastbit.export(model, "litert-reference", name="layer")
    assert selftest_of(compile_program(report, tmp_path, name)) == -1


@needs_all_interpreters
@needs_shared_models
@pytest.mark.live
@pytest.mark.parametrize(("stem", "runtime"), WHOLE_MODELS)
def test_a_whole_model_prints_what_the_real_interpreter_prints(stem, runtime, tmp_path):
    needs("gcc")
    model = lastbit.load(MODELS / f"{stem}.tflite")
    report = lastbit.export(model, runtime)
    program = compile_program(report, tmp_path)
    assert selftest_of(program) == -1
    samples = inputs(model, 6)
    with open_oracle(runtime) as oracle:
        wanted = oracle.run(model.content, samples).outputs
    for ours, theirs in zip(outputs_of(program, report, samples), wanted, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a.reshape(b.shape), b)


@needs_all_interpreters
@needs_shared_models
@pytest.mark.live
@pytest.mark.parametrize("runtime", RUNTIMES[:2])
def test_a_streaming_model_prints_the_same_call_after_call(runtime, tmp_path):
    needs("gcc")
    model = lastbit.load(MODELS / "mww_v2_vad.tflite")
    report = lastbit.export(model, runtime, name="vad")
    assert [slot.elements for slot in report.written.variables] == [128, 336, 576, 80]
    assert report.as_dict()["state_bytes"] == 128 + 336 + 576 + 80
    program = compile_program(report, tmp_path)
    assert selftest_of(program) == -1
    samples = inputs(model, 40)
    with open_oracle(runtime) as oracle:
        wanted = [row[0] for row in oracle.run(model.content, samples).outputs]
    ours = [row[0] for row in outputs_of(program, report, samples)]
    np.testing.assert_array_equal(np.reshape(ours, -1), np.reshape(wanted, -1))
    # Each call from the beginning is another stream: the state is what makes the difference.
    alone = [outputs_of(program, report, [sample])[0][0] for sample in samples[-3:]]
    assert np.reshape(alone, -1).tolist() != np.reshape(wanted[-3:], -1).tolist()
    report.files["vad.c"] = report.files["vad.c"].replace("state->variable_1[i] = -", "state->variable_1[i] = 1 -")
    assert selftest_of(compile_program(report, tmp_path)) >= 0


@needs_all_interpreters
@pytest.mark.live
def test_a_transposed_convolution_of_a_calculated_shape_prints_the_same(tmp_path):
    """As Keras' layer is converted: the batch is read off the input, the rest are constants."""
    needs("gcc")
    graph, rng = ModelBuilder(), np.random.default_rng(5)
    x = graph.tensor((1, 3, 4, 2), "int8", quant(0.02, 3))
    y = graph.tensor((1, 6, 8, 5), "int8", quant(0.05, -2))
    shape, batch = graph.tensor((4,), "int32"), graph.tensor((), "int32")
    begin, end, step = (graph.constant(np.asarray([v]), "int32") for v in (0, 1, 1))
    sizes = [graph.constant(np.asarray(v), "int32") for v in (6, 8, 5)]
    weights = graph.constant(rng.integers(-127, 128, (5, 3, 3, 2)), "int8", quant([0.01] * 5))
    wanted = graph.tensor((4,), "int32")
    graph.operator("SHAPE", [x], [shape], out_type="int32")
    graph.operator("STRIDED_SLICE", [shape, begin, end, step], [batch], shrink_axis_mask=1)
    graph.operator("PACK", [batch, *sizes], [wanted], values_count=4, axis=0)
    graph.operator("TRANSPOSE_CONV", [wanted, weights, x], [y], padding="SAME", stride_w=2, stride_h=2)
    model = graph.model([x], [y])
    samples = inputs(model, 20)
    for runtime in RUNTIMES:
        report = lastbit.export(model, runtime, name="turned")
        program = compile_program(report, tmp_path)
        assert selftest_of(program) == -1
        with open_oracle(runtime) as oracle:
            theirs = oracle.run(model.content, samples).outputs
        np.testing.assert_array_equal(
            [row[0] for row in outputs_of(program, report, samples)], [row[0] for row in theirs]
        )


def test_moves_of_float32_keep_the_constants_of_the_file(tmp_path):
    needs("gcc")
    graph = ModelBuilder()
    x, y = graph.tensor((1, 3), "float32"), graph.tensor((2, 5), "float32")
    around = graph.constant(np.asarray([[0, 1], [1, 1]]), "int32")
    graph.operator("PADV2", [x, around, graph.constant(np.asarray([0.75]), "float32")], [y])
    report = lastbit.export(graph.model([x], [y]), "litert-reference", name="padded")
    program = compile_program(report, tmp_path)
    assert selftest_of(program) == -1
    (found,) = outputs_of(program, report, [[np.asarray([[1.5, -2, 3]], np.float32)]])[0]
    np.testing.assert_array_equal(found, np.asarray([[0.75, 1.5, -2, 3, 0.75], [0.75] * 5], np.float32))


MUTATIONS = {
    "a multiplication that rounds down": (r"\(int64_t\)a \* b \+ \(INT64_C\(1\) << 30\)", "(int64_t)a * b"),
    "a shift that rounds half up": (r"value < 0 \? -\(\(half - value\) >> count\) : ", ""),
    "a bound": (r"(\d+) /\* activation_max \*/", lambda m: f"{int(m[1]) - 1} /* activation_max */"),
    "a padding": (r"(\d+), (\d+) /\* padding \*/", lambda m: f"{int(m[1]) + 1}, {m[2]} /* padding */"),
    "an input offset": (r"(-?\d+) /\* input_offset \*/", lambda m: f"{int(m[1]) + 1} /* input_offset */"),
    "an output offset": (r"(-?\d+) /\* output_offset \*/", lambda m: f"{int(m[1]) + 1} /* output_offset */"),
    "a weight": (r"_filter\[\d+\] = \{\s+(-?\d+)", lambda m: m[0][: m.start(1) - m.start()] + str(int(m[1]) ^ 1)),
    "a multiplier": (r"_multiplier\[\d+\] = \{\s+(\d+)", lambda m: m[0][: m.start(1) - m.start()] + str(int(m[1]) - 1)),
    "a stride": (r"(\d+), (\d+) /\* strides \*/", lambda m: f"{int(m[1]) + 1}, {m[2]} /* strides */"),
}


@cache
def keyword_spotting():
    """An export, and its C as it is right."""
    report = lastbit.export(MODELS / "mlt_kws_ref.tflite", "tflm", name="kws")
    return report, report.files["kws.c"]


@needs_shared_models
@pytest.mark.parametrize("what", MUTATIONS)
def test_the_self_test_of_a_wrong_copy_fails(what, tmp_path):
    needs("gcc")
    pattern, instead = MUTATIONS[what]
    report, text = keyword_spotting()
    places = list(re.finditer(pattern, text))
    assert places
    for match in (places[0], places[-1]):
        changed = match.expand(instead) if isinstance(instead, str) else instead(match)
        report.files["kws.c"] = text[: match.start()] + changed + text[match.end() :]
        assert selftest_of(compile_program(report, tmp_path, flags=("-O0",))) >= 0


FUSING = {
    "gcc": ("gcc", ("-std=gnu99", "-O2", "-mfma", "-ffp-contract=fast")),
    "clang": ("clang", ("-std=gnu99", "-O2", "-mfma", "-ffp-contract=fast")),
    "g++": ("g++", ("-O2", "-mfma", "-ffp-contract=fast")),
}


def has_fma():
    place = Path("/proc/cpuinfo")
    return place.exists() and re.search(r"^flags\s*:.*\bfma\b", place.read_text(), re.M) is not None


@needs_shared_models
@pytest.mark.parametrize("name", FUSING)
def test_floats_stay_right_where_a_compiler_may_fuse_and_the_self_test_notices_where_it_does(name, tmp_path):
    needs(name)
    if not has_fma():
        pytest.skip("this CPU has no fused multiply-add")
    report = lastbit.export(MODELS / "mlt_toycar_fullint_micro_v01.tflite", "litert-builtin-x86", op=11, name="reals")
    assert "fused multiply-add" in report.test.kills[11].caught
    assert selftest_of(compile_program(report, tmp_path, name, FUSING[name][1])) == -1
    text = report.files["reals.c"]
    assert "volatile float product" in text
    report.files["reals.c"] = text.replace("volatile float product", "const float product")
    assert selftest_of(compile_program(report, tmp_path, name, FUSING[name][1])) >= 0


@needs_shared_models
@pytest.mark.parametrize(
    ("flags", "words"),
    [(("-O2", "-ffast-math"), "ffast-math"), (("-D__FLT_EVAL_METHOD__=2",), "floats must be calculated as floats")],
)
def test_compilers_that_change_floats_are_refused_by_the_file_itself(flags, words, tmp_path):
    needs("gcc")
    report = lastbit.export(MODELS / "arm_kws_cnn_s.tflite", "litert-builtin-x86", name="kws")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        compile_program(report, tmp_path, "gcc", ("-Wno-builtin-macro-redefined", *flags))
    assert words in refused.value.stderr
