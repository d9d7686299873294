"""The command `thresholds`: print a layer's requantization as exact tables."""

from __future__ import annotations

import click

from .options import (
    json_option,
    model_argument,
    op_option,
    runtime_option,
    verbose_option,
)
from .outputs import print_report

__all__ = ["thresholds"]


@click.command()
@model_argument
@op_option
@click.option("--channel", type=int, metavar="C", help="Only output unit C, with its whole table.")
@runtime_option
@verbose_option
@json_option
@click.pass_context
def thresholds(
    ctx: click.Context, model: str, op: int | None, channel: int | None, runtime: str, verbose: bool, as_json: bool
) -> None:
    """Print a layer's requantization as exact tables.

    The accumulators at which the output changes: at most 255 for an 8-bit output, exact for every accumulator that
    the layer can reach. The exit code is 3 where no layer has thresholds.
    """
    from ..report.terminal import progress
    from ..verbs.thresholds.verb import thresholds as make

    with progress("thresholds") as update:
        report = make(model, runtime, op, channel=channel)
        report.calculate(update, plain=as_json)
    print_report(report, as_json, verbose)
    ctx.exit(report.exit_code)
