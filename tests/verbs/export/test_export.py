"""export: names, comments, what is refused, and what the files say; no compiler is needed."""

import os
import re

import numpy as np
import pytest

import lastbit
from lastbit.model.errors import InputError, UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.verbs.export.c99.text import comment, decimal, identifier
from tests.support.cli import invoke
from tests.support.models import ModelBuilder, make_dense_model
from tests.support.places import MODELS, needs_shared_models

HOSTILE = '*/ #include "/etc/passwd" /* \\\n??/ \x00é'


def test_the_same_model_gives_the_same_files_wherever_it_lies(tmp_path):
    model = make_dense_model()
    texts = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "model.tflite"
        path.write_bytes(model.content)
        texts.append(lastbit.export(path, "tflm").files)
        assert str(tmp_path) not in "".join(texts[-1].values())
    assert texts[0] == texts[1]
    assert not re.search(r"20\d\d-\d\d-\d\d", "".join(texts[0].values()))


def test_a_tensors_name_cannot_leave_its_comment():
    weights = np.ones((2, 3), np.int8)
    scales = {"input_quant": quant(0.02, 3), "weights_quant": quant([0.01]), "output_quant": quant(0.02, -5)}
    content = write(dense_subgraph(weights, bias=np.zeros(2, int), **scales))
    graph = load(content)
    name = graph.inputs[0].name.encode()
    assert content.count(name) == 1
    hostile = b"*/x/*\\\n"[: len(name)].ljust(len(name), b"?")
    model = load(content.replace(name, hostile))
    assert model.inputs[0].name != graph.inputs[0].name
    for text in lastbit.export(model, "tflm", name="layer").files.values():
        assert text.isascii()
        bare = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        assert "*/" not in bare
        assert "/*" not in bare
        assert "??" not in text
        assert not re.search(r"\\\n", re.sub(r'"[^"\n]*"', "", text))


def test_text_that_is_made_harmless():
    assert "*/" not in comment(HOSTILE)
    assert "\n" not in comment(HOSTILE)
    assert identifier("../../x.y") == "model_x_y"
    assert identifier("ürün") == "r_n"
    for value in np.random.default_rng(1).normal(size=200).astype(np.float32):
        assert np.float32(decimal(value).rstrip("f")) == value


def test_what_c_does_not_have_is_listed_at_once_and_nothing_is_written(tmp_path):
    path = tmp_path / "hybrid.tflite"
    rng = np.random.default_rng(3)
    kinds = {"input_quant": None, "output_quant": None, "input_dtype": "float32", "bias_dtype": "float32"}
    graph = dense_subgraph(
        rng.integers(-127, 128, (5, 7)).astype(np.int8), weights_quant=quant([0.01]), weights_dtype="int8",
        bias=np.zeros(5, np.float32), input_shape=(1, 7), **kinds,
    )  # fmt: skip
    path.write_bytes(write(graph))
    done = invoke("export", path, "--runtime", "litert-reference", "-o", tmp_path / "out")
    assert done.exit_code == 3
    assert "cannot be written as C for litert-reference" in done.stderr
    assert "operator 0 FULLY_CONNECTED: C has no code for rule" in done.stderr
    assert "it calculates with float32 values" in " ".join(done.stderr.split())
    assert not os.path.exists(tmp_path / "out")
    with pytest.raises(UnsupportedError, match="FULLY_CONNECTED"):
        lastbit.export(path, "litert-reference")


def test_what_the_runtime_refuses_and_what_c_lacks_stand_in_one_list():
    graph = ModelBuilder()
    x = graph.tensor((1, 8), "int8", quant(0.02, 3))
    real = graph.tensor((1, 8), "float32")
    both = graph.tensor((1, 8), "float32")
    end = graph.tensor((2, 8), "float32")
    graph.operator("DEQUANTIZE", [x], [real])
    graph.operator("ADD", [real, real], [both], fused_activation_function="NONE")
    graph.operator("CONCATENATION", [both, both], [end], axis=0, fused_activation_function="RELU")
    with pytest.raises(UnsupportedError) as refused:
        lastbit.export(graph.model([x], [end]), "litert-reference")
    assert [reason.split(":")[0] for reason in refused.value.reasons] == ["operator 1 ADD", "operator 2 CONCATENATION"]


def test_elements_that_c_has_no_type_for_are_refused_in_words():
    graph = ModelBuilder()
    x, y = graph.tensor((2, 3), "bool"), graph.tensor((3, 2), "bool")
    graph.operator("RESHAPE", [x, graph.constant(np.asarray([3, 2]), "int32")], [y])
    with pytest.raises(UnsupportedError, match="element type = bool"):
        lastbit.export(graph.model([x], [y]), "litert-reference")


@needs_shared_models
def test_an_operator_of_a_models_state_is_refused_alone():
    model = lastbit.load(MODELS / "mww_v2_vad.tflite")
    (index, *_) = (op.index for op in model.operators if op.name == "READ_VARIABLE")
    with pytest.raises(UnsupportedError, match="with the whole model only"):
        lastbit.export(model, "tflm", op=index)


@needs_shared_models
@pytest.mark.parametrize("stem", ["more/tflm_keyword_scrambled", "more/mlt_kws_float32"])
def test_models_that_c_does_not_have_are_refused_with_every_reason(stem):
    with pytest.raises(UnsupportedError) as refused:
        lastbit.export(MODELS / f"{stem}.tflite", "tflm")
    assert len(refused.value.reasons) > 5
    assert all(reason.startswith(("operator ", "tensor ")) for reason in refused.value.reasons)


@needs_shared_models
@pytest.mark.parametrize("runtime", lastbit.RUNTIMES)
def test_every_runtime_is_written_or_refused_in_words(runtime):
    """A rule that C does not have is never an error of another kind."""
    try:
        made = len(lastbit.export(MODELS / "arm_kws_dnn_s.tflite", runtime).test.vectors)
    except UnsupportedError as refused:
        made = len(refused.reasons)
    assert made


def test_the_command_writes_two_files_and_says_what_they_need(tmp_path):
    path = tmp_path / "small.tflite"
    path.write_bytes(make_dense_model().content)
    done = invoke("export", path, "--runtime", "tflm", "-o", tmp_path / "c")
    assert done.exit_code == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "c")) == ["small.c", "small.h"]
    assert "35 multiply-adds" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80 + len(str(tmp_path))
    header = (tmp_path / "c" / "small.h").read_text(encoding="ascii")
    assert "int32_t small_selftest(void);" in header
    assert "#define SMALL_INPUT_0_SCALE 0.0199999996f /* 0x1.47ae140000000p-6 */" in header


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--language", "ada"), "wanted: c99"), (("--name", "my model"), "my_model"), (("--op", "7"), "no operator 7")],
)
def test_what_cannot_be_written_is_said(options, words, tmp_path):
    path = tmp_path / "small.tflite"
    path.write_bytes(make_dense_model().content)
    done = invoke("export", path, *options, "-o", tmp_path / "c")
    assert done.exit_code == 2
    assert words in done.stderr
    assert not os.path.exists(tmp_path / "c")


def test_one_operator_and_a_name_of_ones_own():
    report = lastbit.export(make_dense_model(), "tflm", op=0, name="mine")
    assert list(report.files) == ["mine.h", "mine.c"]
    assert "operator 0 FULLY_CONNECTED" in report.files["mine.c"]
    with pytest.raises(InputError, match="language"):
        lastbit.export(make_dense_model(), "tflm", language="cobol")
