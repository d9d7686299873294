"""Exported single operators print what real interpreters were recorded to print."""

import pytest

from lab.checks.export_operators import run_together, write_cases
from lab.reach.c_programs import compiler
from lab.record.recorded_operators import read_golden
from tests.support.places import GOLDEN


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "every", "least"),
    [("litert-xnnpack", 37, 25), ("litert-xnnpack-avx2", 61, 10), ("litert-xnnpack.transpose_conv", 61, 4)],
)
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
        "ADD", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_MATMUL", "BATCH_TO_SPACE_ND", "CONCATENATION",
        "CONV_2D", "DEPTHWISE_CONV_2D", "GATHER", "HARD_SWISH", "LEAKY_RELU", "MAXIMUM", "MAX_POOL_2D", "MEAN",
        "MINIMUM", "MUL", "PACK", "PAD", "SLICE", "SPACE_TO_BATCH_ND", "SPLIT", "STRIDED_SLICE", "SUB", "SUM",
        "TRANSPOSE", "TRANSPOSE_CONV", "UNPACK",
    }  # fmt: skip
    moves = "batch_to_space_nd.gather.slice.space_to_batch_nd"
    files = ("litert-xnnpack-avx2", f"litert-xnnpack.{moves}", "litert-xnnpack.transpose_conv")
    chosen, seen = [], set()
    for case in (case for name in files for case in read_golden(GOLDEN / f"operators.{name}.npz")[1]):
        op = case[0].operators[0]
        dtypes = {tensor.dtype.name for tensor in (*case[0].inputs, *case[0].outputs)}
        if op.name in wanted - seen and dtypes <= {"int8", "uint8", "int16", "int32", "int64"}:
            seen.add(op.name)
            chosen.append(case)
    programs, lacking = write_cases(chosen)
    assert not lacking
    assert run_together(programs, tmp_path) == {}
    assert {program.label.split(", ")[1] for program in programs} == wanted
