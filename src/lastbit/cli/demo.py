"""The command `demo`: show on a built-in model how the runtimes differ."""

from __future__ import annotations

import click

from .options import json_option
from .outputs import print_report

__all__ = ["demo"]


@click.command()
@json_option
@click.pass_context
def demo(ctx: click.Context, as_json: bool) -> None:
    """Show on a built-in model how the runtimes differ."""
    from ..report.terminal import progress
    from ..verbs.demo.verb import demo as make

    with progress("demo") as update:
        report = make(progress=update)
    print_report(report, as_json)
    ctx.exit(report.exit_code)
