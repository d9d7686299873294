"""RESIZE_NEAREST_NEIGHBOR: by hand, by exact fractions, and the rivals that recorded interpreters refute."""

from fractions import Fraction

import numpy as np
import pytest

import lastbit
from lab.cases.operators import Case, Operand
from lab.record.recorded_operators import read_golden
from lastbit.model.errors import UnsupportedError
from lastbit.ops.prepare import prepare_operator
from tests.support.places import GOLDEN

RECORDED = GOLDEN / "operators.litert-xnnpack.resize_nearest_neighbor.npz"


def resize(x, size, dtype="int8", **options):
    given, made = Operand(x.shape, dtype, 0.5, 3), Operand((x.shape[0], *size, x.shape[3]), dtype, 0.5, 3)
    return Case(
        "RESIZE_NEAREST_NEIGHBOR", [given, Operand((2,), "int32", data=np.array(size))], [made], [x], options, 3
    )


def row(given, made, runtime="litert-reference", **options):
    """Which of a row's elements each of `made` ones is."""
    x = np.arange(given, dtype=np.int16).reshape(1, 1, given, 1)
    case = resize(x, (1, made), "int16", **options)
    case = Case(
        case.op,
        [Operand(x.shape, "int16", 0.5), case.inputs[1]],
        [Operand((1, 1, made, 1), "int16", 0.5)],
        [x],
        options,
        3,
    )
    return lastbit.run(case.model(), x, runtime=runtime).output.reshape(-1).tolist()


def rounded(value):
    """A fraction as float32 has it: 24 bits, half to even."""
    if not value:
        return value
    last = value.numerator.bit_length() - value.denominator.bit_length() - 24
    unit = Fraction(2) ** (last + (value / Fraction(2) ** last >= 2**24))
    return round(value / unit) * unit


def positions(given, made, aligned, centers, float32=rounded):
    """The same by fractions, one by one; `float32` rounds what the kernel holds in one."""
    lengths = (given - 1, made - 1) if aligned and made > 1 else (given, made)
    scale = float32(Fraction(*lengths))
    products = (float32(float32(i + Fraction(centers, 2)) * scale) for i in range(made))
    return [min(int(product + Fraction(aligned, 2)), given - 1) for product in products]


def test_twice_as_large_and_half_as_large():
    x = np.arange(1, 5, dtype=np.int8).reshape(1, 2, 2, 1)
    larger = lastbit.run(resize(x, (4, 4)).model(), x, runtime="litert-xnnpack").output[0, :, :, 0]
    assert larger.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    smaller = lastbit.run(resize(x, (1, 1), half_pixel_centers=True).model(), x, runtime="tflm").output
    assert smaller.reshape(-1).tolist() == [4]


@pytest.mark.parametrize(("aligned", "centers"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_positions_are_those_of_exact_fractions(aligned, centers):
    rng = np.random.default_rng(5)
    for given, made in rng.integers(1, 700, (12, 2)).tolist():
        found = row(given, made, align_corners=bool(aligned), half_pixel_centers=bool(centers))
        assert found == positions(given, made, aligned, centers), (given, made)


def test_what_interpreters_printed_refutes_exact_places_and_the_other_rule():
    refuted = {"exact places": 0, "nearest/float32": 0, "nearest/fixed16": 0}
    for model, inputs, outcomes in read_golden(RECORDED)[1]:
        op, x = model.operators[0], inputs[0]
        aligned, centers = op.options["align_corners"], op.options["half_pixel_centers"]
        size = model.tensors[op.inputs[1]].data.tolist()
        rows, columns = (
            positions(given, made, aligned, centers, Fraction) for given, made in zip(x.shape[1:3], size, strict=True)
        )
        for runtime, seen in outcomes.items():
            if isinstance(seen, str):
                continue
            prepared = prepare_operator(model, op, runtime)
            np.testing.assert_array_equal(prepared.evaluate(inputs)["output"], seen[0], strict=True)
            refuted["exact places"] += int((x[:, rows][:, :, columns] != seen[0]).sum())
            other = {"nearest/float32": "nearest/fixed16", "nearest/fixed16": "nearest/float32"}[prepared.rule]
            by_other = lastbit.ops.OPERATORS[op.name].prepare(model, op, other).evaluate(inputs)["output"]
            refuted[other] += int((by_other != seen[0]).sum())
    assert min(refuted.values()) > 20, refuted


def test_sizes_that_no_kernel_takes_are_refused():
    x = np.zeros((1, 2, 2, 1), np.int8)
    flat = resize(x, (2, 2))
    for wrong in (np.array([2, 2, 2]), np.array([0, 2])):
        model = Case(
            flat.op, [flat.inputs[0], Operand(wrong.shape, "int32", data=wrong)], flat.outputs, [x], {}, 3
        ).model()
        with pytest.raises(UnsupportedError, match=r"wanted an image|are covered"):
            prepare_operator(model, model.operators[0], "tflm")
