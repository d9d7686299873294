"""The command `verify`: compare LastBit with the real interpreters."""

from __future__ import annotations

import click

from .options import (
    ABOUT_NAMES,
    allow_gaps_option,
    inputs_option,
    json_option,
    library_option,
    model_argument,
    recorded_option,
    verbose_option,
)
from .outputs import print_report
from .record import answer_recorded

__all__ = ["verify"]


@click.command()
@model_argument
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME",
    help=f"A runtime to verify; give it again for more. By default all that are installed. {ABOUT_NAMES}",
)
@inputs_option
@library_option
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rows of input for each dense layer; with -i, rows of it that are run.  [default: 64]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the inputs.")
@recorded_option
@allow_gaps_option
@verbose_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    model: str,
    runtimes: tuple[str, ...],
    inputs: tuple[str, ...],
    library: str | None,
    samples: int | None,
    seed: int,
    recorded: str | None,
    allow_gaps: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Compare LastBit with the real interpreters.

    Operator by operator, to the last bit. The exit code is 0 where every operator was compared and is equal, 1 where
    anything differs, 3 where an operator was not compared, 4 where an interpreter is missing or died.
    """
    if recorded is not None:
        if not runtimes:
            raise click.UsageError("--recorded wants --runtime NAME; `lastbit identify` finds out which one it is.")
        answer_recorded(ctx, model, recorded, runtimes, as_json, verbose)
    from ..report.input_arrays import read_inputs
    from ..report.terminal import progress
    from ..verbs.run.verb import load
    from ..verbs.verify.verb import DEFAULT_SAMPLES
    from ..verbs.verify.verb import verify as make

    loaded = load(model)
    samples = DEFAULT_SAMPLES if samples is None else samples
    with progress("verify") as update:
        report = make(
            loaded,
            list(runtimes) or None,
            x=read_inputs(inputs, loaded) if inputs else None,
            samples=samples,
            seed=seed,
            progress=update,
            library=library,
            allow_gaps=allow_gaps,
        )
    print_report(report, as_json, verbose)
    ctx.exit(report.exit_code)
