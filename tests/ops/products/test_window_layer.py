"""A convolution seen as the dense layer over its windows prints what the convolution prints."""

import numpy as np
import pytest

from lab.cases.convolutions import convolutions
from lastbit.layers.running import rows_in_rule
from lastbit.layers.step_tables import LayerTables
from lastbit.layers.window_images import images_of, inner_places, single_windows
from lastbit.model.errors import InputError
from lastbit.model.tflite import load
from lastbit.ops.dense.eight_bit import PreparedDense
from lastbit.ops.prepare import prepare
from lastbit.ops.products.as_dense import as_dense
from lastbit.rules.requantize.step_tables import outputs_at
from tests.support.convolution_models import make_convolution, random_images


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


@pytest.mark.parametrize("per_channel", [True, False])
def test_channels_that_follow_two_rules_have_a_table_each(per_channel):
    model = make_convolution("DEPTHWISE_CONV_2D", (6, 7), 11, 11, power_of_two=True, per_channel=per_channel)
    entry = prepare(model, "litert-builtin").operators[0]
    dense = as_dense(entry)
    right = entry.evaluate([random_images(model, 6)])
    accs, outputs = (right[name].reshape(-1, 11).astype(np.int64) for name in ("acc", "output"))
    assert (dense.requantized(accs)["output"] == outputs).all()
    tables = LayerTables(dense)
    assert all((tables.table(unit).at(accs[:, unit]) == outputs[:, unit]).all() for unit in range(11))
    other = np.stack([outputs_at(dense.for_unit(10 - u).requant, accs[:, u], u) for u in range(11)], axis=1)
    differ = (other != outputs).any(axis=0)  # the other rule prints other outputs here
    assert differ[:3].any()
    assert differ[8:].any()
    assert "whole groups of 8 channels" in dense.equation


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
