"""Inputs as users give them: a missing batch dimension, wrong types, and the element of an output that is meant."""

import json

import numpy as np
import pytest

import lastbit
from lastbit.model.errors import InputError, RealInputError
from lastbit.model.extras import install_text
from lastbit.testing import assert_bitexact
from lastbit.verbs.demo.verb import demo_model
from tests.support.cli import invoke
from tests.support.models import make_dense_model

X = np.random.default_rng(4).integers(-128, 128, (1, 16, 48)).astype(np.int8)
WITHOUT = X[0]
RIGHT = lastbit.run(demo_model(), X, "tflm").output
VECTOR = np.arange(7, dtype=np.int8)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.tflite").write_bytes(demo_model().content)
    for name, array in {"x": WITHOUT, "x1": X, "y": RIGHT[0], "x32": X.astype(np.int32), "f": X / 7}.items():
        np.save(f"{name}.npy", array)
    return tmp_path


@pytest.mark.parametrize("engine", ["reference", "numpy"])
def test_run_and_build_add_a_missing_batch_dimension(engine):
    np.testing.assert_array_equal(lastbit.run(demo_model(), WITHOUT, "tflm", engine=engine).output, RIGHT)
    np.testing.assert_array_equal(lastbit.build(demo_model(), "tflm", engine=engine)(WITHOUT), RIGHT)
    model = make_dense_model()
    whole = lastbit.run(model, VECTOR[None], "tflm").output
    assert whole.shape == (1, 5)
    np.testing.assert_array_equal(lastbit.run(model, VECTOR, "tflm", engine=engine).output, whole)
    np.testing.assert_array_equal(lastbit.run(model, {"input": VECTOR}, "tflm", engine=engine).output, whole)


def test_every_verb_that_takes_an_input_takes_one_without_its_batch_dimension():
    model = demo_model()
    with_it, without = (lastbit.explain(model, x, at=(5, 3), runtime="tflm").as_dict() for x in (X, WITHOUT))
    assert with_it == without
    assert lastbit.diagnose(model, WITHOUT, RIGHT[0], runtime="tflm").exit_code == 0
    assert "tflm" in sum(lastbit.identify(model, WITHOUT, RIGHT[0]).groups, ())
    same = lastbit.compare(model, "tflm", "cmsis-nn", x=WITHOUT, oracles=False)
    assert same.data is None or not same.data.differs
    real = WITHOUT.astype(np.float32) * np.float32(0.05)
    lastbit.run(model, real, "tflm", quantize_input=True)


def test_assert_bitexact_takes_both_without_their_batch_dimension():
    assert_bitexact(RIGHT[0], demo_model(), WITHOUT, "tflm")
    assert_bitexact(lambda x: RIGHT[0] if x.ndim == 2 else None, demo_model(), WITHOUT, "tflm")
    assert_bitexact(RIGHT[0], demo_model(), X, "tflm")
    wrong = RIGHT[0].copy()
    wrong[3, 4] ^= 1
    with pytest.raises(AssertionError, match=r"Mismatched elements: 1 / 512"):
        assert_bitexact(wrong, demo_model(), WITHOUT, "tflm")
    with pytest.raises(AssertionError, match=r"found int8 array of shape \[8, 32\]"):
        assert_bitexact(RIGHT[0, :8], demo_model(), WITHOUT, "tflm")


def test_the_command_line_takes_files_without_a_batch_dimension(files):
    assert invoke("run", "m.tflite", "-i", "x.npy", "-o", "out.npy", "--runtime", "tflm").exit_code == 0
    np.testing.assert_array_equal(np.load("out.npy"), RIGHT)
    assert invoke("identify", "m.tflite", "-i", "x.npy", "--output", "y.npy").exit_code == 0


@pytest.mark.parametrize("shape", [(2, 16, 47), (1, 1, 16, 48), (48,), (16, 16, 16, 48), (0, 16, 48)])
def test_what_has_no_one_meaning_is_refused_with_both_shapes(shape):
    with pytest.raises(InputError) as caught:
        lastbit.run(demo_model(), np.zeros(shape, np.int8))
    assert f"found shape {list(shape)}, wanted [1, 16, 48]" in str(caught.value)
    assert "may be any batch size from 1, or be missing" in str(caught.value)


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (X.astype(np.int32), "found dtype int32, wanted int8. All values fit int8: use x.astype(np.int8)."),
        (X.astype(np.float64), "found dtype float64, wanted int8. All values fit int8: use x.astype(np.int8)."),
        (X.tolist(), "found dtype int64, wanted int8. All values fit int8: use np.asarray(x).astype(np.int8)."),
        (
            X.astype(np.int16) * 4,
            f"Values from {4 * int(X.min())} to {4 * int(X.max())} do not fit int8 (-128 to 127).",
        ),
        (X.view(np.uint8), "for pixels subtract 128: (x.astype(np.int16) - 128).astype(np.int8)."),
        (X / 7, "Real values must be quantized first (scale "),
        (X.astype(complex), "found dtype complex128, wanted int8. Save numbers of that type."),
        (np.full(X.shape, np.nan), "Real values must be quantized first (scale "),
    ],
)
def test_a_wrong_dtype_is_told_with_what_to_do(x, told):
    for call in (
        lambda: lastbit.run(demo_model(), x, "tflm"),
        lambda: lastbit.explain(demo_model(), x, runtime="tflm"),
        lambda: lastbit.build(demo_model(), "tflm", engine="numpy")(x),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert told in str(caught.value)
    # What a message says to do works.
    if "use " in told:
        rewritten = eval(told.partition("use ")[2].rstrip("."), {"x": x, "np": np})
        np.testing.assert_array_equal(lastbit.run(demo_model(), rewritten, "tflm").output, RIGHT)


def test_only_the_way_of_the_caller_is_told(files):
    with pytest.raises(RealInputError) as caught:
        lastbit.run(demo_model(), X / 7)
    assert "or use quantize_input=True." in str(caught.value)
    assert "--quantize-input" not in str(caught.value)
    result = invoke("run", "m.tflite", "-i", "f.npy", "-o", "out.npz")
    assert result.exit_code == 2
    assert "or use --quantize-input." in result.stderr
    assert "quantize_input" not in result.stderr
    # A verb that cannot quantize offers no way to make it.
    assert "quantize-input" not in invoke("explain", "m.tflite", "-i", "f.npy").stderr
    assert "All values fit int8: use x.astype(np.int8)" in invoke("explain", "m.tflite", "-i", "x32.npy").stderr
    told = invoke("run", "m.tflite", "-o", "out.npz").stderr
    assert told == "error: No input given. Add -i x.npy (int8, [1, 16, 48]).\n"


@pytest.mark.parametrize("at", [163, (5, 3), (0, 5, 3), np.int64(163), [np.int32(5), 3], np.array([0, 5, 3])])
def test_an_element_is_named_in_three_ways(at):
    report = lastbit.explain(demo_model(), X, at=at, runtime="tflm")
    assert (report.element.row, report.element.unit) == (5, 3)
    assert report.output == RIGHT[0, 5, 3]


@pytest.mark.parametrize("at", [-1, 512, (16, 0), (0, 32), (1, 0, 0), (0, 0, 0, 0), "here", 2.5, (1.0, 2), (), None])
def test_an_element_that_is_not_there_is_told_in_one_message(at):
    if at is None:
        return
    with pytest.raises(InputError) as caught:
        lastbit.explain(demo_model(), X, at=at, runtime="tflm")
    text = str(caught.value)
    assert "wanted (row, unit) with row 0 to 15 and unit 0 to 31, or one number from 0 to 511" in text
    assert "or an index of shape [1, 16, 32]" in text


def test_the_command_takes_the_same_elements(files):
    found = [
        json.loads(invoke("explain", "m.tflite", "-i", "x.npy", "--at", at, "--json").stdout)["element"]
        for at in ("163", "5,3", "0,5,3")
    ]
    assert found[0] == found[1] == found[2]
    assert invoke("explain", "m.tflite", "--at", "512").exit_code == 2
    assert "wanted whole numbers ROW,UNIT" in invoke("explain", "m.tflite", "--at", "a").stderr


def test_hints_install_what_there_is():
    assert install_text("litert") == 'pip install "ai-edge-litert==2.3.0"'
    assert install_text("fast").startswith('pip install "numba>=')
    assert install_text("torch") == 'pip install "torch==2.13.0"'
    both = install_text("litert", "tflm")
    assert '"ai-edge-litert==2.3.0"' in both
    assert '"tflite-micro==0.dev' in both
    # Not installed: what works in a clone.
    assert install_text("no such extra") == 'pip install ".[no such extra]"'
