"""A command about speed: bench."""

from __future__ import annotations

import click

from .options import ABOUT_NAMES, engine_option, json_option, model_argument, threads_option, verbose_option
from .outputs import print_report

__all__ = ["bench"]


@click.command()
@model_argument
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="Rows in one call; give it again for several.  [default: 1, 16, 256, 4096]",
)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME",
    help=f"Whose arithmetic LastBit calculates. {ABOUT_NAMES}  [default: LiteRT's three kinds, tflm]",
)
@click.option("--seconds", type=float, default=2.0, show_default=True, help="About how long each batch may take.")
@click.option("--memory/--no-memory", default=True, help="Measure peak memory, in processes of their own.")
@engine_option
@threads_option
@verbose_option
@json_option
@click.pass_context
def bench(
    ctx: click.Context,
    model: str,
    batches: tuple[int, ...],
    runtimes: tuple[str, ...],
    seconds: float,
    memory: bool,
    engine: str,
    threads: int,
    verbose: bool,
    as_json: bool,
) -> None:
    """Time a model: LastBit beside the real interpreters.

    Same model, same random data, one process, by turns; medians, and how many times the speed of the real interpreter
    whose arithmetic it is. Interpreters that are not installed are left out.
    """
    from ..report.terminal import progress
    from ..verbs.bench.verb import BATCHES
    from ..verbs.bench.verb import bench as make

    with progress("bench") as update:
        report = make(
            model,
            batches=batches or BATCHES,
            runtimes=runtimes,
            engine=engine,
            threads=threads,
            seconds=seconds,
            memory=memory,
            progress=update,
        )
    print_report(report, as_json, verbose)
    ctx.exit(report.exit_code)
