"""Exported single operators print what real interpreters were recorded to print."""

import pytest

from lab.checks.export_operators import run_together, write_cases
from lab.reach.c_programs import compiler
from lab.record.recorded_operators import read_golden
from tests.support.places import GOLDEN


@pytest.mark.golden
@pytest.mark.parametrize(("name", "every", "least"), [("litert-xnnpack", 37, 25), ("litert-xnnpack-avx2", 61, 10)])
def test_single_operators_print_what_was_recorded(name, every, least, tmp_path):
    if (why := compiler("gcc")) is not None:
        pytest.skip(why)
    _, cases = read_golden(GOLDEN / f"operators.{name}.npz")
    programs, lacking = write_cases(list(cases)[::every])
    assert len(programs) >= least
    assert sum(lacking.values()) < len(programs)
    assert run_together(programs, tmp_path) == {}


@pytest.mark.golden
def test_every_operator_that_is_documented_is_written(tmp_path):
    """docs/export.md names them; one recorded case of each. Others are in the models of test_programs.py."""
    if (why := compiler("gcc")) is not None:
        pytest.skip(why)
    wanted = {
        "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "HARD_SWISH", "LEAKY_RELU",
        "MAX_POOL_2D", "MEAN", "MUL", "PACK", "PAD", "SPLIT", "STRIDED_SLICE", "SUB", "SUM", "TRANSPOSE", "UNPACK",
    }  # fmt: skip
    _, cases = read_golden(GOLDEN / "operators.litert-xnnpack.npz")
    chosen, seen = [], set()
    for case in cases:
        op = case[0].operators[0]
        dtypes = {tensor.dtype.name for tensor in (*case[0].inputs, *case[0].outputs)}
        if op.name in wanted - seen and dtypes <= {"int8", "uint8", "int16"}:
            seen.add(op.name)
            chosen.append(case)
    programs, lacking = write_cases(chosen)
    assert not lacking
    assert run_together(programs, tmp_path) == {}
    assert {program.label.split(", ")[1] for program in programs} == wanted
