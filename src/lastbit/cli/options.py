"""Arguments and options that several commands share."""

from __future__ import annotations

import click

from ..engines import AUTO, ENGINES
from ..runtimes import DEFAULT_RUNTIME

__all__ = [
    "ABOUT_NAMES",
    "allow_gaps_option",
    "engine_option",
    "inputs_option",
    "json_option",
    "library_option",
    "model_argument",
    "op_option",
    "recorded_option",
    "runtime_option",
    "signature_option",
    "threads_option",
    "verbose_option",
]

ABOUT_NAMES = "`lastbit runtimes` lists the names; auto: what Interpreter(model) does on this CPU."

# A plain string: a missing file is told by the reader, in the words it has for everything else.
model_argument = click.argument("model", metavar="MODEL")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else.")

verbose_option = click.option("-v", "--verbose", is_flag=True, help="Print everything, not only the first screen.")

allow_gaps_option = click.option(
    "--allow-gaps",
    is_flag=True,
    help="End with 0 where operators were not compared and all others are equal; the gap is printed.",
)

op_option = click.option(
    "--op", type=int, metavar="N", help="Only operator N, as `lastbit inspect MODEL` numbers them."
)

recorded_option = click.option("--recorded", metavar="FILE", help="What another machine printed: see `lastbit record`.")

runtime_option = click.option(
    "--runtime",
    default=DEFAULT_RUNTIME,
    show_default=True,
    metavar="NAME",
    help=f"Whose arithmetic. {ABOUT_NAMES}",
)

inputs_option = click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="FILE",
    help=(
        "An input: .npy; .npz with arrays under the inputs' names or indices; .bin or .raw with plain values "
        "of the input's own type (.f32 .i8 .u8 .i16 .i32: of that type). Give it again for each further "
        "input, in order or as NAME=FILE or INDEX=FILE; a signature's names will do."
    ),
)

signature_option = click.option(
    "--signature",
    metavar="KEY",
    help="By whose names inputs and outputs are called, where the model has several signatures.",
)

library_option = click.option(
    "--library",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="CMSIS-NN as a shared library that you have built (docs/cmsis_nn.md), for the runtimes of that name.",
)

engine_option = click.option(
    "--engine",
    type=click.Choice([*ENGINES, AUTO]),
    default=AUTO,
    show_default=True,
    help="What calculates; the outputs are the same. jit needs the extra [fast].",
)

threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Threads that share the rows (engine jit).",
)
