"""From a float model to a quantized one: quantize."""

from __future__ import annotations

import click

from .options import json_option, model_argument, verbose_option
from .outputs import print_report

__all__ = ["quantize"]


@click.command()
@model_argument
@click.option("-o", "--output", required=True, metavar="FILE", help="The quantized .tflite file to write.")
@click.option(
    "--data",
    "data",
    multiple=True,
    metavar="FILE",
    help="Representative samples: .npz with arrays under the inputs' names, .npy, or INPUT=FILE, again for each input.",
)
@click.option("--ranges", metavar="FILE", help="A .json file with [min, max] of each tensor, instead of --data.")
@click.option(
    "--like",
    default="tflite",
    show_default=True,
    metavar="NAME[@VERSION]",
    help="Whose arithmetic: tflite (TensorFlow's converter, @2.12 to @2.21), litert (the wheel's quantizer) or "
    "ai-edge-quantizer (@0.10).",
)
@click.option("--activations", type=click.Choice(["int8", "int16"]), help="The type of activations.  [default: int8]")
@click.option(
    "--weights",
    type=click.Choice(["int8", "int4", "float16"]),
    default="int8",
    show_default=True,
    help="The type of weights: int4 is ai-edge-quantizer's, float16 is tflite's, without --data.",
)
@click.option(
    "--weight-only",
    is_flag=True,
    help="Keep every calculation in float32: a DEQUANTIZE before each weight (ai-edge-quantizer, without --data).",
)
@click.option("--per-tensor-dense", is_flag=True, help="One scale for all units of a dense layer.")
@click.option(
    "--io",
    metavar="TYPE[,TYPE]",
    help="The type of the file's inputs and outputs, or one for each: float32, int8, uint8, int16.  [default: float32; "
    "ai-edge-quantizer with --data: that of the activations]",
)
@click.option(
    "--calibrator",
    type=click.Choice(["litert", "lastbit"]),
    default="litert",
    show_default=True,
    help="What runs the samples: LiteRT (extra [litert]) or LastBit's own float32 operators.",
)
@click.option("--ranges-out", metavar="FILE", help="Write the ranges that were measured to this .json file.")
@verbose_option
@json_option
def quantize(
    model: str,
    output: str,
    data: tuple[str, ...],
    ranges: str | None,
    like: str,
    activations: str | None,
    weights: str,
    weight_only: bool,
    per_tensor_dense: bool,
    io: str | None,
    calibrator: str,
    ranges_out: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Quantize a float32 model exactly as a converter does.

    MODEL is a float32 .tflite file, or a Keras model (.keras, .h5; extra [keras]). Neither needs TensorFlow.
    Every scale, zero point, weight and bias is the converter's own, to the last bit, from the same ranges. The ranges
    come from samples (--data) or from a file (--ranges). Without both, only weights are quantized: dynamic range,
    float16 or weights only.

    Batch normalization in a Keras model is folded as on an Intel CPU; a converter on another CPU may write other last
    bits there (docs/keras.md).
    """
    from ..report.input_arrays import possible_paths, read_inputs
    from ..report.json_text import json_text
    from ..report.output_files import check_target, write_bytes
    from ..report.terminal import progress, say
    from ..verbs.quantize.ranges import read_ranges
    from ..verbs.quantize.result import QuantizeReport
    from ..verbs.quantize.verb import check, measure, open_model, quantize_by, settings_of

    check_target(output, (".tflite",), keep=[model, *possible_paths(data), *([ranges] if ranges else [])])
    if ranges_out is not None:
        check_target(ranges_out, (".json",), keep=[model, output])
    if data and ranges:
        raise click.UsageError("--data and --ranges exclude each other; give one of them.")
    if ranges_out is not None and not data:
        raise click.UsageError("--ranges-out writes the ranges of --data, which is not given.")
    settings = settings_of(
        like,
        ranged=bool(data or ranges),
        activations=activations,
        weights=weights,
        weight_only=weight_only,
        per_tensor_dense=per_tensor_dense,
        io=None if io is None else _ends(io),
    )
    loaded = open_model(model, settings.converter)
    check(loaded, settings)
    found = None
    if data:
        with progress("quantize") as update:
            found = measure(loaded, lambda: read_inputs(data, loaded), calibrator, settings.converter, update)
    elif ranges:
        found = read_ranges(ranges, loaded)
    made = quantize_by(loaded, settings, found)
    write_bytes(output, bytes(made.content))
    if ranges_out is not None and found is not None:
        write_bytes(ranges_out, json_text(found.as_dict(), indent=2).encode())
    print_report(QuantizeReport(loaded, made, output, settings), as_json, verbose)
    say(f"wrote {output}")


def _ends(io: str) -> tuple[str, str]:
    """The types of inputs and outputs."""
    first, _, second = io.replace(" ", "").partition(",")
    return first, second or first
