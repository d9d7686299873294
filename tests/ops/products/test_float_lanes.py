"""Which partial sums a float32 convolution has on ARM64: the sizes at which LiteRT 2.3.0 was seen to change them."""

import numpy as np
import pytest

from lab.cases.operators import Case, Operand
from lastbit.ops import OPERATORS
from lastbit.ops.products.float_lanes import Lanes, lanes_of
from lastbit.rules.operators.float_convolutions import CONVOLUTIONS

NEON = CONVOLUTIONS["float32_fma_neon/bias_first"]


def layer(units, window, groups, made):
    x, weights, bias = (
        np.zeros(shape, np.float32)
        for shape in (
            (1, made[0] + window[0] - 1, made[1] + window[1] - 1, groups * 2),
            (units * groups, *window, 2),
            (units * groups,),
        )
    )
    inputs = [Operand(x.shape, "float32"), *(Operand(a.shape, "float32", data=a) for a in (weights, bias))]
    options = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
    model = Case("CONV_2D", inputs, [Operand((1, *made, units * groups), "float32")], [x], options).model()
    return OPERATORS["CONV_2D"].prepare(model, model.operators[0], NEON.name).convolution


@pytest.mark.parametrize(
    ("units", "window", "groups", "made", "expected"),
    [
        (7, (2, 2), 1, (2, 2), Lanes(2)),
        (8, (2, 2), 1, (2, 2), Lanes(1)),
        (8, (2, 2), 1, (1, 1), Lanes(2)),
        (8, (1, 1), 2, (2, 2), Lanes(1)),
        (7, (1, 1), 2, (2, 2), Lanes(2)),
        (7, (1, 1), 1, (2, 2), Lanes(4, early=True)),
        (14, (1, 1), 1, (2, 2), Lanes(4, early=True)),
        (15, (1, 1), 1, (2, 2), Lanes(1)),
        (15, (1, 1), 1, (1, 1), Lanes(2)),
    ],
)
def test_lanes_by_size(units, window, groups, made, expected):
    assert lanes_of(layer(units, window, groups, made), NEON, (1, *made, units * groups)) == expected


def test_four_sums_are_added_up_in_pairs():
    sums = [np.float32([x]) for x in (2.0**24, 1, 1, 1)]
    assert Lanes(4).total(sums).tolist() == [2.0**24 + 2]
