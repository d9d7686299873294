"""The command `vectors`: write golden test vectors that catch wrong implementations."""

from __future__ import annotations

import click

from .options import (
    json_option,
    library_option,
    model_argument,
    op_option,
    runtime_option,
    verbose_option,
)
from .outputs import print_report

__all__ = ["vectors"]


class _FormatOption(click.Option):
    """An option whose help names the formats; it is asked for where they are written, and only then."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option and its help."""
        from ..verbs.vectors.formats import formats_text

        self.help = f"{formats_text()}; give it again for more. All by default."
        return super().get_help_record(ctx)


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
    cls=_FormatOption,
    multiple=True,
    metavar="NAME",
)
@click.option("--oracle/--no-oracle", default=True, help="Confirm the outputs on the real interpreter.")
@library_option
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same vectors.")
@verbose_option
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
    verbose: bool,
    as_json: bool,
) -> None:
    """Write golden test vectors that catch wrong implementations.

    Inputs, accumulators and outputs of each dense layer and convolution, solved for on its real weights where other
    runtimes, other rules and known mistakes print something else; each labelled with what it catches. The exit code is
    1 where the real interpreter prints something else, 3 where no layer has vectors; then nothing is written.
    """
    from ..report.terminal import progress, say
    from ..verbs.vectors.formats import FORMATS, check_folder, write_vectors
    from ..verbs.vectors.verb import DEFAULT_COUNT, DEFAULT_RANDOM
    from ..verbs.vectors.verb import vectors as make

    chosen = check_folder(folder, formats or tuple(FORMATS))
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
    print_report(report, as_json, verbose)
    if report.exit_code:
        say(f"nothing is written to {folder}")
    ctx.exit(report.exit_code)
