"""The command `doctor`: check this installation."""

from __future__ import annotations

import click

from .options import json_option, verbose_option
from .outputs import print_report

__all__ = ["doctor"]


@click.command()
@verbose_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, verbose: bool, as_json: bool) -> None:
    """Check this installation.

    Versions, CPU, and whether each real interpreter is there and starts. A missing interpreter is no fault:
    the exit code is 0 unless LastBit's own core is broken (70).
    """
    from ..report.terminal import progress
    from ..verbs.doctor.verb import doctor as make

    with progress("doctor") as update:
        report = make(progress=update)
    print_report(report, as_json, verbose)
    ctx.exit(report.exit_code)
