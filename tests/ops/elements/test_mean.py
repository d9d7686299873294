"""MEAN in versions of the builtin kernels that take the axes as the file writes them."""

import numpy as np

from lastbit.model.tflite.synthesize import quant
from lastbit.ops.prepare import prepare_operator
from tests.support.models import ModelBuilder


def mean_of(axes):
    """uint8 `[1, 3, 2, 1]` -> its mean over these axes."""
    build = ModelBuilder()
    x = build.tensor((1, 3, 2, 1), "uint8", quant(1.5000001192092896, 255))
    over = build.constant(np.int32(axes), "int32")
    output = build.tensor((1, 1, 1, 1), "uint8", quant(1.0, 248))
    build.operator("MEAN", (x, over), (output,), keep_dims=True)
    return build.model((x,), (output,))


def test_an_axis_counted_from_the_end_takes_another_way_up_to_litert_2_1_6():
    x = np.uint8([162, 162, 162, 161, 161, 161]).reshape(1, 3, 2, 1)
    printed = {
        ("litert-builtin@1.4.0", -3): 107,
        ("litert-builtin@2.1.6", -3): 107,
        ("litert-builtin@2.1.6", 1): 108,
        ("litert-builtin@2.2.0", -3): 108,
        ("litert-builtin", -3): 108,
    }
    for (runtime, axis), wanted in printed.items():
        model = mean_of([axis, 2])
        prepared = prepare_operator(model, model.operators[0], runtime)
        assert prepared.evaluate([x])["output"].reshape(-1).tolist() == [wanted], (runtime, axis)
