"""A command about data sets: evaluate."""

from __future__ import annotations

import click

from ..runtimes import DEFAULT_RUNTIME
from .options import ABOUT_NAMES, engine_option, json_option, model_argument, threads_option, verbose_option
from .outputs import print_report

__all__ = ["evaluate"]

_INTERRUPTED = 130


@click.command()
@model_argument
@click.option(
    "--data", required=True, metavar="PATH", help="Inputs: .npy, .npz, a folder of them (shards), .csv or .txt."
)
@click.option("--labels", metavar="PATH", help="For each row its class, or the wanted output in real units.")
@click.option("--top", type=click.IntRange(min=1), multiple=True, metavar="K", help="Count labels among the K largest.")
@click.option("--rows", metavar="FILE", help="Write the result of each row to this .csv or .npz.")
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME",
    help=(
        f"Whose arithmetic; give it again to compare others with the first. {ABOUT_NAMES}  [default: {DEFAULT_RUNTIME}]"
    ),
)
@click.option("-o", "--output", metavar="FILE", help="The report (.json). A partial one in it is taken up.")
@click.option("--restart", is_flag=True, help="Begin anew, whatever FILE holds.")
@click.option("--quantize-input", is_flag=True, help="Quantize real-valued data as the runtime itself does.")
@engine_option
@threads_option
@verbose_option
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    model: str,
    data: str,
    labels: str | None,
    top: tuple[int, ...],
    rows: str | None,
    runtimes: tuple[str, ...],
    output: str | None,
    restart: bool,
    quantize_input: bool,
    engine: str,
    threads: int,
    verbose: bool,
    as_json: bool,
) -> None:
    """Run a whole data set in any runtimes' arithmetic.

    Counts accuracy, top K, precision, recall, F1 and confusion, or errors to wanted outputs, an autoencoder's anomaly
    score, mean and range of other outputs. With several runtimes also which rows change from one to the other, and at
    which operator that begins. Memory stays constant however large the data is. Ctrl-C ends with the result so far;
    the same command goes on from there if -o was given. A row that cannot be used ends it too: the rows before it are
    told, with exit code 2.
    """
    from ..model.errors import DataError
    from ..report.terminal import progress, say
    from ..verbs.evaluate.verb import evaluate as make

    try:
        with progress("evaluate") as update:
            report = make(
                model,
                data,
                labels=labels,
                runtimes=runtimes,
                output=output,
                engine=engine,
                threads=threads,
                quantize_input=quantize_input,
                restart=restart,
                top=top,
                rows=rows,
                progress=update,
            )
    except DataError as error:
        if error.report.rows:
            print_report(error.report, as_json, verbose)
        raise
    print_report(report, as_json, verbose)
    for path in (output, rows):
        if path is not None:
            say(f"wrote {path}")
    if not report.complete:
        ctx.exit(_INTERRUPTED)
