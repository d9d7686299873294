"""A convolution seen as the dense layer over its windows prints what the convolution prints."""

import numpy as np
import pytest

from lab.cases.convolutions import convolutions
from lastbit.layers.running import rows_in_rule
from lastbit.layers.window_images import images_of, inner_places, single_windows
from lastbit.model.errors import InputError
from lastbit.model.tflite import load
from lastbit.ops.dense.eight_bit import PreparedDense
from lastbit.ops.prepare import prepare
from lastbit.ops.products.window_layer import as_dense


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_its_rows_give_the_convolutions_outputs(dtype):
    seen = grouped = 0
    for case in convolutions(np.random.default_rng([4, len(dtype)]), 16, dtype):
        model = load(case.content())
        entry = prepare(model, "litert-xnnpack").operators.get(0)
        dense = as_dense(entry)
        if not isinstance(dense, PreparedDense):
            continue
        x = case.values[0]
        right = entry.evaluate([x])
        rows = dense.layer.rows(x)
        assert rows.shape == (right["output"].size // dense.layer.units, dense.layer.groups * dense.layer.depth)
        accs, outputs = rows_in_rule(dense, rows)
        assert (outputs == right["output"].reshape(outputs.shape)).all()
        assert (accs == right["acc"].reshape(accs.shape)).all()
        assert (dense.evaluate([rows])["output"] == outputs).all()
        assert (rows[dense.layer.padded(x)] == dense.layer.input_zero_point).all()
        assert dense.layer.output_shape(x.shape) == right["output"].shape
        low, high = dense.layer.reachable_acc()
        assert ((low <= accs) & (accs <= high)).all()
        seen, grouped = seen + 1, grouped + (dense.layer.groups > 1)
    assert seen > 10
    assert grouped > 2


def test_windows_in_images_are_seen_where_it_says():
    placed = alone = 0
    for case in convolutions(np.random.default_rng(6), 12):
        dense = as_dense(prepare(load(case.content()), "litert-reference").operators.get(0))
        if not isinstance(dense, PreparedDense):
            continue
        rows = np.random.default_rng(1).integers(-128, 128, (5, dense.layer.depth)).astype(np.int8)
        wanted = rows_in_rule(dense, rows)[1]
        if inner_places(dense.layer):
            images, places = images_of(dense.layer, rows)
            assert (dense.evaluate([images])["output"][places] == wanted).all()
            placed += 1
        else:
            with pytest.raises(InputError, match="reaches into the padding"):
                images_of(dense.layer, rows)
            alone += 1
        images, _ = single_windows(dense.layer, rows)
        assert images.shape[0] == 5
    assert placed > 8


def test_what_is_no_image_is_refused():
    case = next(convolutions(np.random.default_rng(6), 1))
    layer = as_dense(prepare(load(case.content()), "litert-reference").operators.get(0)).layer
    with pytest.raises(InputError, match="found an input of shape"):
        layer.rows(np.zeros((1, 2, 3), np.int8))
