"""The command `record`: what a person runs on a board, a phone or a Pi without LastBit."""

from __future__ import annotations

from collections.abc import Sequence

import click

from .options import inputs_option, json_option, model_argument
from .outputs import print_report

__all__ = ["answer_recorded", "record"]


@click.command()
@model_argument
@click.option("-o", "--output", "folder", required=True, metavar="DIR", help="The folder to write to.")
@inputs_option
@click.option(
    "--samples", type=click.IntRange(min=1), metavar="N", help="How many inputs are run.  [default: all of -i, or 4]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the chosen inputs.")
@json_option
def record(model: str, folder: str, inputs: tuple[str, ...], samples: int | None, seed: int, as_json: bool) -> None:
    """Make a recorder for a machine without LastBit.

    Writes a folder with one Python file, which needs NumPy and ai-edge-litert or tflite-runtime, a C++ file for
    TensorFlow Lite Micro, the model and chosen inputs. What it records there, `verify`, `compare`, `identify` and
    `diagnose` take here with --recorded FILE, operator by operator.
    """
    from ..report.input_arrays import read_inputs
    from ..report.output_files import check_folder
    from ..verbs.record.verb import record as make
    from ..verbs.run.verb import load

    check_folder(folder)
    loaded = load(model)
    arrays = read_inputs(inputs, loaded) if inputs else None
    report = make(loaded, x=arrays, samples=samples, seed=seed)
    report.write(folder)
    print_report(report, as_json)


def answer_recorded(
    ctx: click.Context, model: str, path: str, runtimes: Sequence[str] | None, as_json: bool, verbose: bool = False
) -> None:
    """Compare a recording with runtimes, print the answer and leave with its exit code."""
    from ..report.terminal import progress
    from ..verbs.record.comparing import compare_recorded
    from ..verbs.record.recording import read_recording
    from ..verbs.run.verb import load

    loaded = load(model)
    recording = read_recording(path, loaded)
    with progress("recorded") as update:
        report = compare_recorded(loaded, recording, runtimes, progress=update)
    print_report(report, as_json, verbose)
    ctx.exit(report.exit_code)
