"""verify on inputs of the user's own: files and arrays, any batch, instead of random ones."""

import json

import numpy as np
import pytest

import lastbit
from lastbit.model.errors import InputError
from lastbit.verbs.demo.verb import demo_model
from lastbit.verbs.verify.given import given_samples
from tests.support.cli import invoke
from tests.support.interpreters import needs_all_interpreters
from tests.support.models import make_dense_model

X = np.random.default_rng(8).integers(-128, 128, (5, 7)).astype(np.int8)


@pytest.mark.parametrize("x", [X, X[0], X[:1], {"input": X}])
def test_rows_become_calls_of_the_files_batch(x):
    calls = given_samples(make_dense_model(), x)
    rows = np.concatenate([call[0] for call in calls])
    assert all(call[0].shape == (1, 7) for call in calls)
    wanted = x["input"] if isinstance(x, dict) else np.asarray(x).reshape(-1, 7)
    np.testing.assert_array_equal(rows, wanted)


def test_a_batch_that_is_no_whole_number_of_calls_is_filled_up():
    model = make_dense_model(input_shape=(2, 7))
    calls = given_samples(model, X)
    assert [call[0].shape for call in calls] == [(2, 7)] * 3
    np.testing.assert_array_equal(np.concatenate([c[0] for c in calls]), np.concatenate([X, X[:1]]))


def test_inputs_that_do_not_fit_are_told():
    with pytest.raises(InputError, match=r"found shape \[5, 6\], wanted \[1, 7\]"):
        lastbit.verify(make_dense_model(), ["tflm"], x=X[:, :6])
    with pytest.raises(InputError, match=r"All values fit int8: use x.astype\(np.int8\)"):
        lastbit.verify(make_dense_model(), ["tflm"], x=X.astype(int))


@needs_all_interpreters
def test_a_models_own_inputs_are_run_end_to_end_and_reach_the_layer():
    random, given = (lastbit.verify(make_dense_model(), ["tflm"], x=x, samples=32) for x in (None, X))
    assert given.exit_code == 0
    (mine,), (drawn,) = given.results, random.results
    assert mine.end_to_end.outputs == X.size // 7 * 5
    # The chosen rows of the layer are run as before, and the user's beside them, one by one and all at once.
    assert mine.compared - mine.end_to_end.outputs >= drawn.compared - drawn.end_to_end.outputs
    assert lastbit.verify(make_dense_model(), ["tflm"], x=X, samples=2).results[0].end_to_end.outputs == 2 * 5


@needs_all_interpreters
def test_what_is_wrong_on_ones_own_inputs_is_found(monkeypatch):
    whole = lastbit.verify(demo_model(), ["tflm"], x=np.zeros((16, 48), np.int8), samples=8)
    assert whole.exit_code == 0
    assert whole.results[0].end_to_end.outputs == 512


@needs_all_interpreters
def test_the_command_takes_files(tmp_path):
    path, x = tmp_path / "m.tflite", tmp_path / "x.npy"
    path.write_bytes(make_dense_model().content)
    np.save(x, X)
    result = invoke("verify", path, "--runtime", "tflm", "-i", x, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["runtimes"][0]["end_to_end"]["outputs"] == 25
    assert invoke("verify", path, "--runtime", "tflm", "-i", tmp_path / "no.npy").exit_code == 2
