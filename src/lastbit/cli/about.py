"""Commands about LastBit itself: demo, runtimes, doctor."""

from __future__ import annotations

import click

from .options import json_option

__all__ = ["demo", "doctor", "runtimes"]


@click.command()
@json_option
@click.pass_context
def demo(ctx: click.Context, as_json: bool) -> None:
    """Show on a built-in model how the runtimes differ."""
    from ..report.terminal import print_report, progress
    from ..verbs.demo.verb import demo as make

    with progress("demo") as update:
        report = make(progress=update)
    print_report(report, as_json)
    ctx.exit(report.exit_code)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--operators", is_flag=True, help="List the operators beside dense layers: exact, refused or not yet.")
@json_option
def runtimes(names: tuple[str, ...], operators: bool, as_json: bool) -> None:
    """List the exact runtimes, their rules and evidence.

    With NAMEs only these, with every equation, rival and source.
    """
    from ..report.terminal import print_report
    from ..verbs.runtimes.operators import operators_report
    from ..verbs.runtimes.verb import runtimes_report

    print_report(operators_report() if operators else runtimes_report(names), as_json)


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check this installation.

    Versions, CPU, and whether each real interpreter is there and starts. A missing interpreter is no fault:
    the exit code is 0 unless LastBit's own core is broken (70).
    """
    from ..report.terminal import print_report, progress
    from ..verbs.doctor.verb import doctor as make

    with progress("doctor") as update:
        report = make(progress=update)
    print_report(report, as_json)
    ctx.exit(report.exit_code)
