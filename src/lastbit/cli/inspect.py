"""The command `inspect`: show what a model's file says, and each runtime's constants."""

from __future__ import annotations

import click

from .options import (
    json_option,
    model_argument,
    op_option,
    verbose_option,
)
from .outputs import print_report

__all__ = ["inspect"]


@click.command()
@model_argument
@op_option
@click.option(
    "--all-channels",
    "full",
    is_flag=True,
    help="Show every channel, operator and tensor, not only the first.",
)
@verbose_option
@json_option
def inspect(model: str, op: int | None, full: bool, verbose: bool, as_json: bool) -> None:
    """Show what a model's file says, and each runtime's constants.

    An overview of operators, dense layers and tensors; with --op, one operator in full: every scale and
    zero point, effective scale, multiplier and shift, folded bias, clamp bounds and reachable accumulators.
    """
    from ..verbs.inspect.verb import inspect as make

    print_report(make(model, op, full=full), as_json, verbose)
