"""SPACE_TO_BATCH_ND, BATCH_TO_SPACE_ND, GATHER and SLICE: by hand, against interpreters, and batches of samples."""

import numpy as np
import pytest

import lastbit
from lab.cases.by_operator.blocks import blocks_and_parts
from lab.cases.operators import Case, Operand
from lastbit.model.errors import Refusal, UnsupportedError
from lastbit.ops.prepare import prepare_operator
from lastbit.oracles import OracleFailure, on_this_machine, open_oracle
from tests.support.interpreters import needs_all_interpreters

RUNTIMES = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")


def to_batch(paddings, zero_point=-7):
    """3 by 3 numbers in blocks of 2 by 2, padded by one row in front and one column behind where asked for."""
    x = np.arange(1, 10, dtype=np.int8).reshape(1, 3, 3, 1)
    constants = [Operand((2,), "int32", data=np.array([2, 2])), Operand((2, 2), "int32", data=np.array(paddings))]
    given, made = Operand(x.shape, "int8", 0.5, zero_point), Operand((4, 2, 2, 1), "int8", 0.5, zero_point)
    return Case("SPACE_TO_BATCH_ND", [given, *constants], [made], [x], {}, 2)


def test_each_place_of_a_block_is_an_image():
    case = to_batch([[1, 0], [0, 1]])
    model = case.model()
    found = lastbit.run(model, case.values[0], runtime="litert-reference").output
    assert found.reshape(4, -1).tolist() == [[-7, -7, 4, 6], [-7, -7, 5, -7], [1, 3, 7, 9], [2, -7, 8, -7]]


def test_a_batch_is_cut_call_by_call():
    case = to_batch([[1, 0], [0, 1]])
    model = case.model()
    both = np.concatenate([case.values[0], -case.values[0]])
    found = lastbit.run(model, both, runtime="litert-reference").output
    one = lastbit.run(model, -case.values[0], runtime="litert-reference").output
    np.testing.assert_array_equal(found[4:], one)


def test_tflm_pads_with_a_number_that_it_never_sets():
    model = to_batch([[1, 0], [0, 1]]).model()
    with pytest.raises(UnsupportedError, match="never sets") as refused:
        prepare_operator(model, model.operators[0], "tflm")
    assert refused.value.kind is Refusal.NOT_EXACT


def test_positions_outside_of_the_axis_are_refused():
    x, positions = Operand((4,), "int8", 1.0), Operand((1,), "int32", data=np.array([4]))
    model = Case("GATHER", [x, positions], [Operand((1,), "int8", 1.0)], [], {"axis": 0, "batch_dims": 0}).model()
    with pytest.raises(UnsupportedError, match="positions 4 to 4 are outside"):
        prepare_operator(model, model.operators[0], "tflm")


@needs_all_interpreters
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_fresh_cases_are_exact(runtime):
    compared, runtime = {}, on_this_machine(runtime)
    with open_oracle(runtime) as oracle:
        for number, dtype in enumerate(("int8", "float32")):
            for case in blocks_and_parts(np.random.default_rng([77, number]), 8, dtype):
                model = case.model()
                try:
                    prepared = prepare_operator(model, model.operators[0], runtime)
                except UnsupportedError as error:
                    if error.kind is not Refusal.NOT_EXACT:
                        with pytest.raises(OracleFailure):
                            oracle.run(case.content(), [list(case.values)])
                    continue
                run = oracle.run(case.content(), [list(case.values)])
                assert not run.delegated or prepared.kernel == "xnnpack"
                np.testing.assert_array_equal(prepared.evaluate(case.values)["output"], run.outputs[0][0], strict=True)
                compared[case.op] = compared.get(case.op, 0) + 1
    assert min(compared.values()) >= 3
    assert len(compared) == 4
