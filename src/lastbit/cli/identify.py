"""The command that finds out which runtime printed some numbers."""

from __future__ import annotations

import click

from .options import inputs_option, json_option, model_argument, recorded_option, verbose_option
from .outputs import print_report
from .record import answer_recorded

__all__ = ["identify"]

_INTERRUPTED = 130


@click.command()
@model_argument
@inputs_option
@click.option("--output", "output", metavar="FILE", help="The numbers: .npy, .npz with one array, or raw.")
@recorded_option
@click.option("--op", type=int, metavar="N", help="The numbers are the output of dense layer N, not of the model.")
@click.option("--separating", metavar="FILE", help="Write an input that tells apart what is left, as .npy.")
@verbose_option
@json_option
@click.pass_context
def identify(
    ctx: click.Context,
    model: str,
    inputs: tuple[str, ...],
    output: str | None,
    recorded: str | None,
    op: int | None,
    separating: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Tell which runtime printed these numbers.

    Lists the runtimes that reproduce all of them, those that are excluded with the first element that excludes each,
    and an input that would tell apart those that are left. The exit code is 0 where some runtime reproduces all
    numbers, 1 where none does (one that refuses the model cannot have printed them), 3 where none does of those that
    LastBit could compare. Ctrl-C keeps the answer: it is printed as far as it is known, and the exit code is 130.
    """
    if recorded is not None:
        answer_recorded(ctx, model, recorded, None, as_json, verbose)
    from ..layers.layer_input import dense_operator
    from ..report.input_arrays import possible_paths, read_array, read_layer_inputs
    from ..report.output_files import check_target, write_arrays
    from ..report.terminal import progress, say
    from ..verbs.identify.verb import Attribution, answers
    from ..verbs.run.verb import load

    if output is None:
        raise click.UsageError("Give the numbers, --output FILE, or what another machine recorded, --recorded FILE.")
    if not inputs:
        raise click.UsageError("Give the input that was run: -i FILE.")
    loaded = load(model)
    if separating is not None:
        check_target(separating, [".npy"], keep=[model, output, *possible_paths(inputs)])
    tensor = loaded.first_output if op is None else loaded.tensors[dense_operator(loaded, op).outputs[0]]
    own, numbers = read_layer_inputs(inputs, loaded, op), read_array(output, tensor)
    report: Attribution | None = None
    try:
        with progress("identify") as update:
            for report in answers(loaded, own, numbers, op, progress=update):  # noqa: B007 - the last one counts
                pass
    except KeyboardInterrupt:
        if report is None:
            raise
    assert report is not None
    if separating is not None and report.separating_input is not None:
        write_arrays(separating, {"input": report.separating_input})
        say(f"wrote {separating}")
    print_report(report, as_json, verbose)
    ctx.exit(_INTERRUPTED if report.unfinished else report.exit_code)
