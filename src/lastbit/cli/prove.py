"""The command `prove`: prove a runtime exact for every reachable accumulator."""

from __future__ import annotations

from typing import cast

import click

from .options import (
    allow_gaps_option,
    json_option,
    library_option,
    model_argument,
    op_option,
    runtime_option,
    verbose_option,
)
from .outputs import print_report

__all__ = ["prove"]


@click.command()
@model_argument
@op_option
@runtime_option
@click.option(
    "--probe",
    type=click.Choice(["auto", "thresholds", "every"]),
    default="auto",
    show_default=True,
    help="Which accumulators: every reachable one, or those at the thresholds; auto: every one up to 50 million.",
)
@library_option
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of what is drawn.")
@allow_gaps_option
@verbose_option
@json_option
@click.pass_context
def prove(
    ctx: click.Context,
    model: str,
    op: int | None,
    runtime: str,
    probe: str,
    library: str | None,
    seed: int,
    allow_gaps: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Prove a runtime exact for every reachable accumulator.

    The real interpreter itself prints its requantization function, which is compared with LastBit's table. The exit
    code is 0 where every operator was probed and nothing differs, 1 where anything does, 3 where an operator was not
    probed (those that are neither dense layers nor convolutions are not), 4 where the interpreter is missing or died.
    """
    from ..report.terminal import progress
    from ..verbs.prove.verb import Probe
    from ..verbs.prove.verb import prove as make

    with progress("prove") as update:
        report = make(
            model,
            runtime,
            op=op,
            probe=cast(Probe, probe),
            seed=seed,
            progress=update,
            library=library,
            allow_gaps=allow_gaps,
        )
    print_report(report, as_json, verbose)
    ctx.exit(report.exit_code)
