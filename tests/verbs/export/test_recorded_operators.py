"""Exported single operators print what real interpreters were recorded to print."""

import pytest

import lastbit
from lab.checks.export_operators import Written, run_together, write_cases
from lab.checks.recorded_cases import files
from lab.reach.c_programs import compiler


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "every", "least"),
    [("litert-xnnpack", 37, 25), ("litert-xnnpack-avx2", 61, 10), ("litert-xnnpack.transpose_conv", 61, 4)],
)
def test_single_operators_print_what_was_recorded(name, every, least, tmp_path):
    if (why := compiler("gcc")) is not None:
        pytest.skip(why)
    programs, lacking = write_cases(list(files()[f"operators.{name}.npz"]())[::every])
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
        "MINIMUM", "MIRROR_PAD", "MUL", "RESIZE_NEAREST_NEIGHBOR",
        "PACK", "PAD", "SLICE", "SPACE_TO_BATCH_ND", "SPLIT", "STRIDED_SLICE", "SUB", "SUM",
        "TRANSPOSE", "TRANSPOSE_CONV", "UNPACK",
    }  # fmt: skip
    moves = "batch_to_space_nd.gather.slice.space_to_batch_nd"
    own = (moves, "mirror_pad", "resize_nearest_neighbor", "transpose_conv")
    names = ("litert-xnnpack-avx2", *(f"litert-xnnpack.{name}" for name in own))
    chosen, seen = [], set()
    for case in (case for name in names for case in files()[f"operators.{name}.npz"]()):
        op = case[0].operators[0]
        dtypes = {tensor.dtype.name for tensor in (*case[0].inputs, *case[0].outputs)}
        if op.name in wanted - seen and dtypes <= {"int8", "uint8", "int16", "int32", "int64"}:
            seen.add(op.name)
            chosen.append(case)
    programs, lacking = write_cases(chosen)
    assert not lacking
    assert run_together(programs, tmp_path) == {}
    assert {program.operator for program in programs} == wanted


@pytest.mark.golden
def test_pairs_of_products_that_leave_16_bits_print_what_was_recorded(tmp_path):
    """ONNX Runtime and PyTorch on CPUs without VNNI; the same layers with whole sums print something else."""
    if (why := compiler("gcc")) is not None:
        pytest.skip(why)
    programs, whole = [], []
    for number, (model, inputs, printed) in enumerate(list(files()["dense_pairs"]())[::17]):
        for runtime in ("onnxruntime-avx2", "torch-fbgemm-avx2", "onnxruntime"):
            found = whole if runtime == "onnxruntime" else programs
            report = lastbit.export(model, runtime, name=f"case_{number}_{len(found)}")
            wanted = printed.get(runtime, printed["onnxruntime-avx2"])
            found.append(Written("FULLY_CONNECTED", runtime, f"{number} {runtime}", report, inputs, wanted))
    texts = ["".join(program.report.files.values()) for program in programs]
    assert sum("added in 16 bits" in text for text in texts) > 5
    assert sum("bias_in_steps" in text for text in texts) == len(texts) // 2
    assert run_together(programs, tmp_path) == {}
    assert len(run_together(whole, tmp_path)) > 1
