"""MIRROR_PAD: by hand, batch by batch, and paddings that nothing can be mirrored into."""

import numpy as np
import pytest

import lastbit
from lab.cases.operators import Case, Operand
from lastbit.model.errors import UnsupportedError
from lastbit.ops.prepare import prepare_operator


def mirrored(x, around, mode):
    around = np.array(around)
    shape = tuple(size + int(sum(pair)) for size, pair in zip(x.shape, around, strict=True))
    given, made = Operand(x.shape, "int8", 0.5, 3), Operand(shape, "int8", 0.5, 3)
    paddings = Operand(around.shape, "int32", data=around)
    return Case("MIRROR_PAD", [given, paddings], [made], [x], {"mode": mode}, 2).model()


@pytest.mark.parametrize(("mode", "wanted"), [("REFLECT", [3, 2, 1, 2, 3, 2]), ("SYMMETRIC", [2, 1, 1, 2, 3, 3])])
def test_a_row_with_two_before_and_one_behind(mode, wanted):
    x = np.array([[1, 2, 3]], np.int8)
    for runtime in ("litert-xnnpack", "litert-reference", "tflm"):
        found = lastbit.run(mirrored(x, [[0, 0], [2, 1]], mode), x, runtime=runtime).output
        assert found.tolist() == [wanted]


def test_a_batch_is_mirrored_call_by_call():
    x = np.array([[1], [2]], np.int8)
    model = mirrored(x, [[0, 2], [0, 0]], "SYMMETRIC")
    found = lastbit.run(model, np.concatenate([x, 10 * x]), runtime="litert-reference").output
    assert found.reshape(-1).tolist() == [1, 2, 2, 1, 10, 20, 20, 10]


def test_no_padding_of_a_single_element_is_the_array_itself():
    x = np.array([[5]], np.int8)
    assert lastbit.run(mirrored(x, [[0, 0], [0, 0]], "REFLECT"), x, runtime="tflm").output.tolist() == [[5]]


@pytest.mark.parametrize(("mode", "around"), [("REFLECT", [3, 0]), ("SYMMETRIC", [0, 4]), ("REFLECT", [-1, 0])])
def test_what_cannot_be_mirrored_once_is_refused(mode, around):
    model = mirrored(np.zeros((1, 3), np.int8), [[0, 0], around], mode)
    with pytest.raises(UnsupportedError, match=r"wider than|do not fit"):
        prepare_operator(model, model.operators[0], "tflm")
