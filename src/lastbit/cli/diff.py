"""Two quantized models compared: diff."""

from __future__ import annotations

import click

from .float_model import read_float_model
from .options import json_option
from .outputs import print_report

__all__ = ["diff"]


@click.command()
@click.argument("first", metavar="A.tflite")
@click.argument("second", metavar="B.tflite")
@click.option(
    "--float", "source", metavar="FILE", help="The float32 model that both were made of: tells why they differ."
)
@click.option(
    "--data",
    "data",
    multiple=True,
    metavar="FILE",
    help="The float model's representative samples: .npz, .npy, or INPUT=FILE, again for each input.",
)
@click.option("--ranges", metavar="FILE", help="A .json file with [min, max] of each tensor, instead of --data.")
@click.option(
    "--calibrator",
    type=click.Choice(["litert", "lastbit"]),
    default="litert",
    show_default=True,
    help="What runs the samples: LiteRT (extra [litert]) or LastBit's own float32 operators.",
)
@click.option("-v", "--verbose", "full", is_flag=True, help="Show every difference, and what differs without counting.")
@json_option
@click.pass_context
def diff(
    ctx: click.Context,
    first: str,
    second: str,
    source: str | None,
    data: tuple[str, ...],
    ranges: str | None,
    calibrator: str,
    full: bool,
    as_json: bool,
) -> None:
    """Compare two quantized models, and say why they differ.

    Operators in order, and every tensor's type, shape, scales (in ulp), zero points and data. Names, numbering and
    metadata do not count. The exit code is 0 where nothing differs, 1 where anything does.
    """
    from ..report.terminal import progress
    from ..verbs.diff.verb import diff as make

    loaded, arrays, found = read_float_model(source, data, ranges)
    with progress("diff") as update:
        report = make(
            first,
            second,
            float_model=loaded,
            data=arrays,
            ranges=found,
            calibrator=calibrator,
            full=full,
            progress=update,
        )
    print_report(report, as_json, full)
    ctx.exit(report.exit_code)
