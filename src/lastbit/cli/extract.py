"""The command `extract`: write a model that is one operator of another."""

from __future__ import annotations

import click

from .options import json_option, model_argument
from .outputs import print_report, write_files

__all__ = ["extract"]


@click.command()
@model_argument
@click.option("--op", type=int, required=True, metavar="N", help="The operator to cut out (see `lastbit inspect`).")
@click.option("-o", "--output", "output", required=True, metavar="FILE", help="The .tflite file to write.")
@click.option("--batch", type=int, metavar="B", help="Rows of the new model's input; as in the model by default.")
@json_option
def extract(model: str, op: int, output: str, batch: int | None, as_json: bool) -> None:
    """Write a model that is one operator of another.

    The new model can be given to any runtime, here or on the real machine; its input is the operator's own.
    """
    from ..report.output_files import check_target, write_bytes
    from ..report.terminal import say
    from ..verbs.extract.verb import extract as make
    from ..verbs.run.verb import load

    loaded = load(model)
    check_target(output, (".tflite",), keep=[model])
    report = make(loaded, op, output, batch)
    write_bytes(output, report.content)
    say(f"wrote {report.in_short()[0]}")
    if as_json:
        print_report(report, as_json=True)
    else:
        write_files(report)
