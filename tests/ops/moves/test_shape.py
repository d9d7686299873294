"""FILL: shapes that a damaged file asks for."""

import pytest

from lastbit.ops.prepare import prepare
from tests.support.models import ModelBuilder


def fill(shape):
    build = ModelBuilder()
    dims = build.constant(shape, "int64")
    value = build.tensor((), "float32")
    return build.model([value], [build.operator("FILL", [dims, value], [build.tensor((3, 3), "float32")])])


@pytest.mark.parametrize("shape", [(1 << 40,), (0, 1 << 62), (1 << 31, 0, 1 << 33)])
def test_a_result_that_no_array_can_be_is_refused(shape):
    assert "ask for a result" in prepare(fill(shape), "litert-reference").refusals[0]
    assert not prepare(fill((3, 3)), "litert-reference").refusals
    assert not prepare(fill((0, 3)), "litert-reference").refusals
