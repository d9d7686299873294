"""The command `explain`: explain one output element, or where a scale comes from."""

from __future__ import annotations

import click

from ..model.errors import InputError
from .float_model import read_float_model
from .options import (
    inputs_option,
    model_argument,
    op_option,
    runtime_option,
    verbose_option,
)
from .outputs import print_report, write_files

__all__ = ["explain"]


@click.command()
@model_argument
@inputs_option
@click.option("--seed", type=int, metavar="S", help="Seed of a random input, where no -i is given.")
@op_option
@click.option(
    "--at",
    metavar="ROW,UNIT",
    help="The output element, also as one number or as an index of the output's shape; without it, an instructive one.",
)
@runtime_option
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "latex"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
@click.option("--json", "output", flag_value="json", help="The same as --format json.")
@click.option("--tensor", metavar="T", help="Where this tensor's scale and zero point come from (index or name).")
@click.option("--channel", type=int, default=0, metavar="N", help="With --tensor: the channel to work, of several.")
@click.option("--float", "source", metavar="FILE", help="With --tensor: the float32 model that it was made of.")
@click.option("--data", multiple=True, metavar="FILE", help="The float model's representative samples.")
@click.option("--ranges", metavar="FILE", help="Its ranges as a .json file, instead of --data.")
@click.option("--calibrator", type=click.Choice(["litert", "lastbit"]), default="litert", help="What runs --data.")
@verbose_option
def explain(
    model: str,
    inputs: tuple[str, ...],
    seed: int | None,
    op: int | None,
    at: str | None,
    runtime: str,
    output: str,
    tensor: str | None,
    channel: int,
    source: str | None,
    data: tuple[str, ...],
    ranges: str | None,
    calibrator: str,
    verbose: bool,
) -> None:
    """Explain one output element, or where a scale comes from.

    Every integer and rounding step of one element of a layer, or with --op of any operator, with its numbers, and what
    the other runtimes make of the same input. --tensor: the rule that decided its scale, and with --float and --data
    (or --ranges) the range, the samples that set its ends, the formula, and what other converters would write.
    """
    if tensor is not None:
        _explain_tensor(model, tensor, channel, source, data, ranges, calibrator, output, verbose)
        return
    if source is not None or data or ranges is not None:
        raise click.UsageError("--float, --data and --ranges go with --tensor.")
    from ..report.input_arrays import read_layer_inputs
    from ..report.terminal import print_text
    from ..verbs.explain.verb import explain as make
    from ..verbs.run.verb import load

    if inputs and seed is not None:
        raise click.UsageError("--seed is for a random input; with -i there is none.")
    position = _position(at)
    loaded = load(model)
    x = read_layer_inputs(inputs, loaded, op)
    report = make(loaded, x, seed=seed, op=op, at=position, runtime=runtime)
    if output == "latex":
        print_text(report.latex())
        write_files(report)
    else:
        print_report(report, as_json=output == "json", verbose=verbose)


def _explain_tensor(
    model: str,
    tensor: str,
    channel: int,
    source: str | None,
    data: tuple[str, ...],
    ranges: str | None,
    calibrator: str,
    output: str,
    verbose: bool,
) -> None:
    from ..report.terminal import progress
    from ..verbs.explain_tensor.verb import explain_tensor

    if output == "latex":
        raise click.UsageError("--tensor has no LaTeX; leave --format out or use json.")
    loaded, arrays, found = read_float_model(source, data, ranges)
    with progress("explain") as update:
        report = explain_tensor(
            model,
            tensor,
            float_model=loaded,
            data=arrays,
            ranges=found,
            calibrator=calibrator,
            channel=channel,
            progress=update,
        )
    print_report(report, output == "json", verbose)


def _position(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--at {text}: wanted whole numbers ROW,UNIT, for example --at 0,3.") from None
