"""Commands that prove instead of sampling: thresholds, compare, prove, vectors."""

from __future__ import annotations

from typing import cast

import click

from .options import (
    ABOUT_NAMES,
    allow_gaps_option,
    inputs_option,
    json_option,
    library_option,
    model_argument,
    op_option,
    runtime_option,
)

__all__ = ["compare", "prove", "thresholds", "vectors"]


@click.command()
@model_argument
@op_option
@click.option("--channel", type=int, metavar="C", help="Only output unit C, with its whole table.")
@runtime_option
@json_option
@click.pass_context
def thresholds(
    ctx: click.Context, model: str, op: int | None, channel: int | None, runtime: str, as_json: bool
) -> None:
    """Print a dense layer's requantization as exact tables.

    The accumulators at which the output changes: at most 255 for an 8-bit output, exact for every accumulator that
    the layer can reach. The exit code is 3 where no layer has thresholds.
    """
    from ..report.terminal import print_report
    from ..verbs.thresholds.verb import thresholds as make

    report = make(model, runtime, op, channel=channel)
    print_report(report, as_json)
    ctx.exit(report.exit_code)


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
@allow_gaps_option
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
    allow_gaps: bool,
    as_json: bool,
) -> None:
    """Certify where two runtimes print the same.

    For each dense layer either a proof that both give the same output for every input, or every accumulator at which
    they differ and an input that shows it. Other operators are proved where both follow one rule, else run on a
    million outputs. The exit code is 0 where every operator was compared and none differs, 1 where something differs,
    3 where an operator was not compared.
    """
    if len(runtimes) != 2:
        found = f" Found {len(runtimes)}." if len(runtimes) > 2 else ""
        raise click.UsageError(f"compare needs two runtimes: --runtime A --runtime B.{found}")
    from ..report.input_arrays import read_inputs
    from ..report.terminal import print_report, progress
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
    print_report(report, as_json)
    ctx.exit(report.exit_code)


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
    as_json: bool,
) -> None:
    """Prove a runtime exact for every reachable accumulator.

    The real interpreter itself prints its requantization function, which is compared with LastBit's table. The exit
    code is 0 where every operator was probed and nothing differs, 1 where anything does, 3 where an operator was not
    probed (those that are no dense layers are not), 4 where the interpreter is missing or died.
    """
    from ..report.terminal import print_report, progress
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
    print_report(report, as_json)
    ctx.exit(report.exit_code)


@click.command()
@model_argument
@op_option
@runtime_option
@click.option("-o", "--output", "folder", required=True, metavar="DIR", help="The folder to write to.")
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="Vectors for each layer, at most.  [default: 32]"
)
@click.option(
    "--random",
    type=click.IntRange(min=0),
    metavar="N",
    help="Random vectors to compare with, fewer on large layers.  [default: 1000]",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="NAME",
    help="npz, json, h (C header), mem ($readmemh) or bin; give it again for more. All by default.",
)
@click.option("--oracle/--no-oracle", default=True, help="Confirm the outputs on the real interpreter.")
@library_option
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same vectors.")
@json_option
@click.pass_context
def vectors(
    ctx: click.Context,
    model: str,
    op: int | None,
    runtime: str,
    folder: str,
    count: int | None,
    random: int | None,
    formats: tuple[str, ...],
    oracle: bool,
    library: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Write golden test vectors that catch wrong implementations.

    Inputs, accumulators and outputs of each dense layer, solved for on its real weights where other runtimes, other
    rules and known mistakes print something else; each labelled with what it catches. The exit code is 1 where the
    real interpreter prints something else, 3 where no layer has vectors; then nothing is written.
    """
    from ..report.terminal import print_report, progress, say
    from ..verbs.vectors.formats import FORMATS, check_folder, write_vectors
    from ..verbs.vectors.verb import DEFAULT_COUNT, DEFAULT_RANDOM
    from ..verbs.vectors.verb import vectors as make

    chosen = check_folder(folder, formats or FORMATS)
    with progress("vectors") as update:
        report = make(
            model,
            runtime,
            op=op,
            count=DEFAULT_COUNT if count is None else count,
            random=DEFAULT_RANDOM if random is None else random,
            oracle=oracle,
            seed=seed,
            progress=update,
            library=library,
        )
    if report.exit_code == 0:
        write_vectors(report, folder, chosen)
    print_report(report, as_json)
    if report.exit_code:
        say(f"nothing is written to {folder}")
    ctx.exit(report.exit_code)
