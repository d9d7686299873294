"""Commands about one model: inspect, run, extract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import inputs_option, json_option, model_argument, op_option, runtime_option

if TYPE_CHECKING:
    from ..engines.reference import Trace
    from ..types import Array

__all__ = ["extract", "inspect", "run"]


@click.command()
@model_argument
@op_option
@click.option(
    "--all-channels", "full", is_flag=True, help="Show every channel, operator and tensor, not only the first."
)
@json_option
def inspect(model: str, op: int | None, full: bool, as_json: bool) -> None:
    """Show what a model's file says, and each runtime's constants.

    An overview of operators, dense layers and tensors; with --op, one operator in full: every scale and zero point,
    effective scale, multiplier and shift, folded bias, clamp bounds and reachable accumulators.
    """
    from ..inspect import inspect as make
    from ..terminal import print_report

    print_report(make(model, op, full=full), as_json)


@click.command()
@model_argument
@inputs_option
@click.option(
    "-o", "--output", "output", required=True, metavar="FILE", help=".npz, or .npy for a single output."
)
@runtime_option
@click.option("--all", "every_step", is_flag=True, help="Write every step of every operator too, as op3/acc.")
@click.option("--quantize-input", is_flag=True, help="Quantize real-valued inputs as the runtime itself does.")
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    model: str,
    inputs: tuple[str, ...],
    output: str,
    runtime: str,
    every_step: bool,
    quantize_input: bool,
    as_json: bool,
) -> None:
    """Run a model in one runtime's arithmetic and write its outputs.

    In a .npz each output is under its tensor's name: under the tensor's index where it has no name, and under
    NAME#INDEX where several have the same. With --all, every step of every operator is there as well (op3/acc).

    Where some operators are not covered, whatever could be computed is written (without --all: the tensors at which
    the computation had to stop), all that is not covered is listed, and the exit code is 3.
    """
    from ..api import load
    from ..api import run as run_model
    from ..files import check_target, read_inputs, write_arrays
    from ..terminal import print_error
    from .run_report import RunReport, arrays_to_write

    loaded = load(model)
    files = [model, *inputs, *(spec.rpartition("=")[2] for spec in inputs)]
    check_target(output, (".npz", ".npy"), keep=files)
    single = output.lower().endswith(".npy")
    if single and (every_step or len(loaded.outputs) != 1):
        why = "--all gives many arrays" if every_step else f"the model has {len(loaded.outputs)} outputs"
        raise click.UsageError(f"{output}: a .npy holds one array, but {why}; name the output .npz.", ctx)
    trace = run_model(
        loaded, read_inputs(inputs, loaded), runtime, quantize_input=quantize_input, partial=True
    )
    arrays = arrays_to_write(trace, every_step)
    complete = all(tensor.index in trace.tensors for tensor in loaded.outputs)
    # A .npy has no key that would tell an inner tensor from the output.
    written = bool(arrays) and (complete or not single)
    if written:
        write_arrays(output, {entry.key: entry.value for entry in arrays})
    report = RunReport(trace, tuple(arrays), output if written else None)
    report.tell()
    if as_json:
        _print_json(report)
    if not trace.complete:
        print_error(report.uncovered_text())
        ctx.exit(3)
