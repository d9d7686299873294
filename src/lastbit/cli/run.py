"""The command `run`: run a model in one runtime's arithmetic and write its outputs."""

from __future__ import annotations

import click

from ..model.errors import InputError, UnsupportedError
from .options import (
    engine_option,
    inputs_option,
    json_option,
    model_argument,
    runtime_option,
    signature_option,
    threads_option,
)
from .outputs import print_report, write_files

__all__ = ["run"]


@click.command()
@model_argument
@inputs_option
@click.option("-o", "--output", "output", required=True, metavar="FILE", help=".npz, or .npy for a single output.")
@runtime_option
@signature_option
@click.option("--all", "every_step", is_flag=True, help="Write every step of every operator too, as op3/acc.")
@click.option("--quantize-input", is_flag=True, help="Quantize real-valued inputs as the runtime itself does.")
@engine_option
@threads_option
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    model: str,
    inputs: tuple[str, ...],
    output: str,
    runtime: str,
    signature: str | None,
    every_step: bool,
    quantize_input: bool,
    engine: str,
    threads: int,
    as_json: bool,
) -> None:
    """Run a model in one runtime's arithmetic and write its outputs.

    In a .npz each output is under its tensor's index; the entry `about` has the names, its
    own and the signature's, as JSON. With --all, every
    step of every operator is there as well (op3/acc), as the reference engine records them whatever --engine says.

    Where some operators are not covered, all of them are listed first, whatever could be computed is written
    (without --all: the tensors at which the computation had to stop), and the exit code is 3.
    """
    from ..ops.prepare import prepare
    from ..report.input_arrays import possible_paths, read_inputs
    from ..report.output_files import check_target, write_arrays
    from ..report.terminal import print_error, progress
    from ..verbs.run.report import make_run_report, uncovered_text
    from ..verbs.run.verb import load
    from ..verbs.run.verb import run as run_model

    loaded = load(model) if signature is None else load(model).with_signature(signature)
    check_target(output, (".npz", ".npy"), keep=[model, *possible_paths(inputs)])
    single = output.lower().endswith(".npy")
    if single and (every_step or len(loaded.outputs) != 1):
        why = "--all gives many" if every_step else f"the model has {len(loaded.outputs)} outputs"
        raise InputError(f"{output}: a .npy holds one array, but {why}; name the output .npz.")
    arrays = read_inputs(inputs, loaded)
    prepared = prepare(loaded, runtime)
    if prepared.refusals:  # all of it, before anything runs
        print_error(uncovered_text(prepared))
    # Only the reference engine records steps.
    chosen = "reference" if every_step else engine
    with progress("run") as update:
        trace = run_model(
            loaded,
            arrays,
            runtime,
            quantize_input=quantize_input,
            partial=True,
            engine=chosen,
            threads=threads,
            progress=update,
        )
    report = make_run_report(trace, output, every_step)
    if report.written:
        write_arrays(output, {entry.key: entry.value for entry in report.arrays}, report.about())
    report.tell()
    if as_json:
        print_report(report, as_json=True)
    else:
        write_files(report)
    if prepared.missing_outputs:
        print_error("\n".join(["the model has outputs without a value:", *prepared.missing_outputs.values()]))
    if not trace.complete or not report.reached:
        ctx.exit(UnsupportedError.exit_code)
