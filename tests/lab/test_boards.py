"""Exported programs on emulated Cortex-M boards."""

import pytest

import lastbit
from lab.checks.verify_models import inputs_for
from lab.reach.emulated.boards import BOARDS, missing, run_on_board
from lastbit.oracles import open_oracle
from tests.support.interpreters import needs_all_interpreters
from tests.support.models import make_dense_model


@needs_all_interpreters
@pytest.mark.live
@pytest.mark.skipif(missing() is not None, reason=f"{missing()}")
@pytest.mark.parametrize("name", BOARDS)
def test_a_layer_prints_on_a_board_what_the_real_interpreter_prints(name, tmp_path):
    model = make_dense_model(units=12, depth=40, per_channel=True)
    report = lastbit.export(model, "tflm", name="layer")
    samples = inputs_for(model, 12, 20, tmp_path)
    with open_oracle("tflm") as oracle:
        outputs = [[array.copy() for array in row] for row in oracle.run(model.content, samples).outputs]
    found = run_on_board(report, BOARDS[name], samples, outputs, tmp_path)
    assert (found["differ"], found["selftest"]) == (0, -1)
    assert 12 * 40 < found["instructions"] < 100 * 12 * 40
    outputs[3][0][0, 0] ^= 1
    assert run_on_board(report, BOARDS[name], samples, outputs, tmp_path)["differ"] == 1
