"""The command `export`: a layer or a whole model as C that prints what a runtime prints."""

from __future__ import annotations

import click

from .options import json_option, model_argument, op_option, runtime_option
from .outputs import print_report

__all__ = ["export"]


@click.command()
@model_argument
@op_option
@runtime_option
@click.option(
    "--language", default="c99", show_default=True, metavar="NAME", help="What to write: c99, which is C++11 too."
)
@click.option("-o", "--output", "folder", required=True, metavar="DIR", help="The folder to write to.")
@click.option(
    "--name", default="", metavar="NAME", help="What functions and files are called.  [default: as the model]"
)
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    model: str,
    op: int | None,
    runtime: str,
    language: str,
    folder: str,
    name: str,
    as_json: bool,
) -> None:
    """Write a layer or a model as C that prints the same.

    One .h and one .c file: C99 that is C++11 too, with stdint.h and nothing else, no malloc, weights in constants. Its
    self-test makes its own inputs, which separate the runtime's rules from others. What C does not have is listed, all
    of it at once, with the exit code 3; then nothing is written.
    """
    from ..report.output_files import check_folder
    from ..report.terminal import progress
    from ..verbs.export.verb import export as make

    check_folder(folder)
    with progress("export") as update:
        report = make(model, runtime, op=op, language=language, name=name, progress=update)
    report.write(folder)
    print_report(report, as_json)
