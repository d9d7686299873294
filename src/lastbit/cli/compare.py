"""The command `compare`: certify where two runtimes print the same."""

from __future__ import annotations

import click

from .options import (
    ABOUT_NAMES,
    allow_gaps_option,
    inputs_option,
    json_option,
    model_argument,
    op_option,
    recorded_option,
    verbose_option,
)
from .outputs import print_report
from .record import answer_recorded

__all__ = ["compare"]


@click.command()
@model_argument
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME",
    help=f"Give it twice, for two runtimes. {ABOUT_NAMES}",
)
@op_option
@inputs_option
@click.option(
    "--samples",
    type=click.IntRange(min=0),
    metavar="N",
    help="Random rows on which the differences of a layer are counted.  [default: 20000]",
)
@click.option("--oracle/--no-oracle", default=True, help="Confirm on the real interpreters what was found.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random inputs.")
@recorded_option
@allow_gaps_option
@verbose_option
@json_option
@click.pass_context
def compare(
    ctx: click.Context,
    model: str,
    runtimes: tuple[str, ...],
    op: int | None,
    inputs: tuple[str, ...],
    samples: int | None,
    oracle: bool,
    seed: int,
    recorded: str | None,
    allow_gaps: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Certify where two runtimes print the same.

    For each dense layer and convolution either a proof that both give the same output for every input, or every
    accumulator at which they differ and an input that shows it. Other operators are proved where both follow one
    rule, else run on a million outputs. The exit code is 0 where every operator was compared and none differs, 1 where
    something differs, 3 where an operator was not compared.
    """
    if recorded is not None:
        if not runtimes:
            raise click.UsageError("--recorded wants --runtime NAME: what it is compared with.")
        answer_recorded(ctx, model, recorded, runtimes, as_json, verbose)
    if len(runtimes) != 2:
        found = f" Found {len(runtimes)}." if len(runtimes) > 2 else ""
        raise click.UsageError(f"compare needs two runtimes: --runtime A --runtime B.{found}")
    from ..report.input_arrays import read_inputs
    from ..report.terminal import progress
    from ..verbs.compare.verb import DEFAULT_SAMPLES
    from ..verbs.compare.verb import compare as make
    from ..verbs.run.verb import load

    loaded = load(model)
    arrays = read_inputs(inputs, loaded) if inputs else None
    with progress("compare") as update:
        report = make(
            loaded,
            *runtimes,
            op=op,
            x=arrays,
            samples=DEFAULT_SAMPLES if samples is None else samples,
            oracles=oracle,
            seed=seed,
            progress=update,
            allow_gaps=allow_gaps,
        )
    print_report(report, as_json, verbose)
    ctx.exit(report.exit_code)
