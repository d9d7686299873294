"""The command that names what is wrong with an implementation's output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import click

from .options import (
    ABOUT_NAMES,
    inputs_option,
    json_option,
    model_argument,
    op_option,
    recorded_option,
    verbose_option,
)
from .outputs import print_report

if TYPE_CHECKING:
    from ..verbs.diagnose.report import Tie

__all__ = ["diagnose"]


@click.command()
@model_argument
@inputs_option
@click.option(
    "--output",
    "output",
    metavar="FILE",
    help="Your output: .npy, raw, or .npz; with several arrays, one for each layer.",
)
@click.option("--code", metavar="FILE.py:FUNCTION", help="Your own code, in place of --output; see docs/diagnose.md.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=MEANING",
    help="What a parameter of --code means, such as s1=input_scale.",
)
@op_option
@click.option(
    "--runtime", metavar="NAME", help=f"Whose output it should be; any runtime's, if not given. {ABOUT_NAMES}"
)
@recorded_option
@click.option("--acc", metavar="FILE", help="Your accumulators, as integers: the step where it goes wrong is found.")
@click.option("--scaled", metavar="FILE", help="Your scaled values before the output zero point, rounded or not.")
@click.option(
    "--quantize-input", is_flag=True, help="The input is real-valued: quantize it, and look for mistakes in that too."
)
@click.option("--separating", metavar="FILE", help="Write inputs that tell apart explanations that tie, as .npy.")
@verbose_option
@json_option
@click.pass_context
def diagnose(
    ctx: click.Context,
    model: str,
    inputs: tuple[str, ...],
    output: str | None,
    code: str | None,
    params: tuple[str, ...],
    op: int | None,
    runtime: str | None,
    recorded: str | None,
    acc: str | None,
    scaled: str | None,
    quantize_input: bool,
    separating: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Name the mistakes in your version of a layer or model.

    Give your output of a known input (-i and --output), or your code (--code), which is called with inputs that
    LastBit chooses. Searches all known mistakes, one, two and three at a time, in every runtime's arithmetic, until
    some reproduce every element of your output; shows the first wrong element by hand, right beside wrong, and each
    fix. The exit code is 0 where the output is right, 1 where it is not, 3 where no runtime has the layer or an
    operator before it is not covered.
    """
    from ..layers.layer_input import layer_operator
    from ..layers.step_tables import layer_operators
    from ..report.input_arrays import possible_paths, read_array, read_layer_inputs, read_several
    from ..report.output_files import check_target
    from ..report.terminal import progress
    from ..verbs.diagnose.report import Diagnosis
    from ..verbs.diagnose.user_file import load_function, parameter_meanings
    from ..verbs.diagnose.verb import diagnose as make
    from ..verbs.record.diagnosed import diagnose_recorded
    from ..verbs.run.verb import load

    if recorded is not None:
        found = diagnose_recorded(model, recorded, op, runtime)
        print_report(found, as_json, verbose)
        ctx.exit(found.exit_code)
    _check(output, code, params, inputs)
    loaded = load(model)
    given = [path for path in (output, acc, scaled, *possible_paths(inputs)) if path is not None]
    if separating is not None:
        check_target(separating, [".npy"], keep=[model, *given])
    # A model of operators without weights alone is diagnosed by its output.
    whole = op is None and not layer_operators(loaded, None) and loaded.outputs
    tensor = loaded.outputs[0] if whole else loaded.tensors[layer_operator(loaded, op).outputs[0]]
    own = read_layer_inputs(inputs, loaded, op) if inputs else None
    with redirect_stdout(sys.stderr):  # what the user's code prints is no part of the report
        mine = read_several(output, tensor) if output is not None else load_function(str(code))
    steps = [None if path is None else read_array(path, tensor) for path in (acc, scaled)]
    with progress("diagnose") as update, redirect_stdout(sys.stderr):
        report = make(
            loaded,
            own,
            mine,
            op,
            runtime,
            *steps,
            quantize_input=quantize_input,
            params=parameter_meanings(params),
            progress=update,
        )
    print_report(report, as_json, verbose)  # first: a full disk must not lose it
    if separating is not None:
        _write_separating(separating, report.ties if isinstance(report, Diagnosis) else ())
    ctx.exit(report.exit_code)


def _write_separating(path: str, ties: Sequence[Tie]) -> None:
    """Write the inputs that tell explanations apart, and say so."""
    from ..report.output_files import write_arrays
    from ..report.terminal import say
    from ..verbs.diagnose.report import separating_inputs

    rows = separating_inputs(ties)
    if rows is None:
        say(f"nothing written to {path}: there is nothing to tell apart")
        return
    write_arrays(path, {"input": rows})
    what = "real values before they are quantized" if rows.dtype.kind == "f" else "the layer's own type"
    say(f"wrote {path}: {len(rows)} inputs of the layer, in {what}")


def _check(output: str | None, code: str | None, params: tuple[str, ...], inputs: tuple[str, ...]) -> None:
    """Whether what is given goes together."""
    if (output is None) == (code is None):
        raise click.UsageError("Give one of your output, --output FILE, and your code, --code FILE.py:FUNCTION.")
    if params and code is None:
        raise click.UsageError("--param says what a parameter of --code means; there is no --code.")
    if not inputs and code is None:
        raise click.UsageError("Give the input that your output was calculated from: -i FILE.")
