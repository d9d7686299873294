"""The command `extract`: write a model that is one operator of another."""

from __future__ import annotations

import click

from .options import (
    model_argument,
)

__all__ = ["extract"]


@click.command()
@model_argument
@click.option("--op", type=int, required=True, metavar="N", help="The operator to cut out (see `lastbit inspect`).")
@click.option("-o", "--output", "output", required=True, metavar="FILE", help="The .tflite file to write.")
@click.option("--batch", type=int, metavar="B", help="Rows of the new model's input; as in the model by default.")
def extract(model: str, op: int, output: str, batch: int | None) -> None:
    """Write a model that is one operator of another.

    The new model can be given to any runtime, here or on the real machine; its input is the operator's own.
    """
    from ..model.tflite.writer import extract_operator, write
    from ..report.output_files import check_target, write_bytes
    from ..report.terminal import say
    from ..verbs.run.verb import load

    loaded = load(model)
    check_target(output, (".tflite",), keep=[model])
    operator = loaded.operator(op)
    graph = extract_operator(loaded, operator, batch)
    content = write(graph, f"{operator.label} of {loaded.source}, extracted by LastBit")
    write_bytes(output, content)
    shapes = {
        role: ", ".join(f"{graph.tensors[i].dtype.name}{list(graph.tensors[i].shape)}" for i in indices)
        for role, indices in (("in", graph.inputs), ("out", graph.outputs))
    }
    say(f"wrote {output}: {operator.label}, {shapes['in']} -> {shapes['out']}, {len(content)} bytes")
