"""The command `runtimes`: list the exact runtimes, their rules and evidence."""

from __future__ import annotations

import click

from .options import json_option, verbose_option
from .outputs import print_report

__all__ = ["runtimes"]


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--operators", is_flag=True, help="List the operators beside dense layers: exact, refused or not yet.")
@verbose_option
@json_option
def runtimes(names: tuple[str, ...], operators: bool, verbose: bool, as_json: bool) -> None:
    """List the exact runtimes, their rules and evidence.

    With NAMEs only these, with every equation, rival and source; with --operators, NAMEs are operators like CONV_2D.
    """
    from ..verbs.runtimes.operators import operators_report
    from ..verbs.runtimes.verb import runtimes_report

    print_report(operators_report(names) if operators else runtimes_report(names), as_json, verbose)
