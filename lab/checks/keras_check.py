"""Compare LastBit's way from Keras to int8 with the real converter's files of keras_models.py, tensor by tensor.

python -m lab check keras --like tflite@2.21 DIR...

It prints one line for each difference, and a row of the tables in docs/keras.md: converter, models, models that both
refuse, constants of float files, tensors of int8 files, differing.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import tflite as schema

from lastbit import load
from lastbit.model.errors import UnsupportedError
from lastbit.model.graph import Model, Operator
from lastbit.verbs.quantize.keras import Folding, Newton, is_keras, read_keras
from lastbit.verbs.quantize.verb import converter_named, quantize

PLUMBING = ("RESHAPE",)
# Options that say nothing about numbers, or the same in two ways.
IGNORED = {"weights_format", "asymmetric_quantize_inputs", "pot_scale_int16", "quantized_bias_type", "keep_num_dims"}


class Differs(Exception):
    """The graphs have another form; its text says where."""


class Pairs:
    """Walks two graphs from their outputs and pairs their tensors; RESHAPE is passed through."""

    def __init__(self, first: Model, second: Model) -> None:
        self.models = (first, second)
        self.producers = tuple({i: op for op in model.operators for i in op.outputs} for model in self.models)
        self.found: dict[tuple[int, int], str] = {}
        if len(first.outputs) != len(second.outputs):
            raise Differs("number of outputs")
        for a, b in zip(first.outputs, in_keras_order(first, second), strict=True):
            self.walk(a.index, b, "output")

    def walk(self, a: int, b: int, what: str) -> None:
        """Pair two tensors and all that they are calculated from."""
        if (a < 0) != (b < 0):
            raise Differs(f"{what}: absent in one")
        if a < 0 or (a, b) in self.found:
            return
        self.found[a, b] = what
        a, b = self.behind(0, a), self.behind(1, b)
        self.found[a, b] = what
        first, second = self.producers[0].get(a), self.producers[1].get(b)
        if first is None and second is None:
            return
        if first is None or second is None:
            raise Differs(f"{what}: {first and first.name} and {second and second.name}")
        same = first.name == second.name and len(first.inputs) == len(second.inputs)
        if not same or self.options(0, first) != self.options(1, second):
            raise Differs(f"{what}: {first.name} {dict(first.options)} and {second.name} {dict(second.options)}")
        for number, (x, y) in enumerate(zip(first.inputs, second.inputs, strict=True)):
            self.walk(x, y, f"{first.label} input {number}")

    def options(self, which: int, op: Operator) -> dict[str, object]:
        """Options that matter; Keras 3 counts an axis from the end."""
        found: dict[str, object] = {name: value for name, value in op.options.items() if name not in IGNORED}
        if op.name == "CONCATENATION":
            found["axis"] = int(op.options["axis"]) % len(self.models[which].tensors[op.outputs[0]].shape)
        return found

    def behind(self, which: int, tensor: int) -> int:
        """The tensor that RESHAPE operators pass on."""
        while (op := self.producers[which].get(tensor)) is not None and op.name in PLUMBING:
            tensor = op.inputs[0]
        return tensor

    def differing(self) -> Iterator[tuple[str, bool, str]]:
        """(place, whether it has data, what differs or an empty text) of each pair of tensors."""
        first, second = self.models
        for (a, b), what in self.found.items():
            x, y = first.tensors[a], second.tensors[b]
            bad = [] if x.dtype == y.dtype else [f"dtype {x.dtype.name} {y.dtype.name}"]
            if (x.data is None) != (y.data is None):
                bad.append("data")
            elif x.data is not None and y.data is not None and x.data.tobytes() != y.data.tobytes():
                same = x.data.shape == y.data.shape
                bad.append(f"data {int((x.data != y.data).sum())} of {x.data.size}" if same else "shape")
            if (x.quant is None) != (y.quant is None):
                bad.append("quantization")
            elif x.quant is not None and y.quant is not None:
                if not np.array_equal(x.quant.scale, y.quant.scale):
                    bad.append(f"scale {x.quant.scale[:2]} {y.quant.scale[:2]}")
                if not np.array_equal(x.quant.zero_point, y.quant.zero_point):
                    bad.append("zero point")
            yield what, x.data is not None, ", ".join(bad)


def in_keras_order(ours: Model, real: Model) -> list[int]:
    """The outputs of a real converter's file in the Keras model's order, which its signature tells.

    The file itself has them in the order of a hash of their names: the layers' (Keras 2), or output_0, output_1, ...
    """
    if len(real.outputs) < 2 or not real.signatures:
        return [tensor.index for tensor in real.outputs]
    named = dict(real.signatures[0].outputs)
    if "output_0" in named:
        return [named[f"output_{number}"] for number in range(len(named))]
    wanted = list(ours.signatures[0].outputs) if ours.signatures else []
    # An output whose own layer was dropped has the name of the layer before; it takes the name that is left.
    left = [name for name in named if name not in wanted]
    return [named[name] if name in named else named[left.pop()] for name in wanted]


def ranges_of(content: bytes) -> dict[int, tuple[float, float]]:
    """Tensor index -> the range that a calibrated file states."""
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    found = {}
    for index in range(graph.TensorsLength()):
        quant = graph.Tensors(index).Quantization()
        if quant is not None and quant.MinLength() and quant.MaxLength():
            found[index] = (float(quant.Min(0)), float(quant.Max(0)))
    return found


def check(path: Path, like: str, folding: Folding, counts: Counter[str]) -> list[str]:
    """Compare one model's constants, then its int8 file; counts what was compared."""
    stem = path.with_suffix("")
    model = read_keras(path, folding)
    bad = []
    for kind in ("float", "ranges"):
        if not Path(f"{stem}.{kind}.tflite").exists():
            continue
        real = load(Path(f"{stem}.{kind}.tflite"))
        pairs = Pairs(model, without_quantization(real))
        for what, constant, text in pairs.differing():
            counts[f"{kind} constants"] += constant
            counts["differing"] += bool(text)
            bad += [f"{kind}: {what}: {text}"] if text else []
    if not Path(f"{stem}.int8.tflite").exists():
        return bad
    stated = ranges_of(Path(f"{stem}.ranges.tflite").read_bytes())
    ranges = {a: stated[b] for a, b in pairs.found if b in stated}
    for op in model.operators:
        if op.name in PLUMBING:
            ranges.setdefault(op.outputs[0], ranges[op.inputs[0]])
    made = quantize(load(bytes(model.content)), ranges=ranges, like=like)
    for what, _, text in Pairs(made, load(Path(f"{stem}.int8.tflite"))).differing():
        counts["int8 tensors"] += 1
        counts["differing"] += bool(text)
        bad += [f"int8: {what}: {text}"] if text else []
    return bad


def without_quantization(model: Model) -> Model:
    """A calibrated file without its ranges."""
    tensors = tuple(replace(tensor, quant=None) for tensor in model.tensors)
    return replace(model, subgraphs=(replace(model.subgraphs[0], tensors=tensors), *model.subgraphs[1:]))


def row(like: str, counts: Counter[str]) -> str:
    """What was compared, as a row of the tables in docs/keras.md; what went wrong is added where there is any."""
    constants = counts["float constants"] + counts["ranges constants"]
    columns = [counts["models"], counts["refused by both"], constants, counts["int8 tensors"], counts["differing"]]
    text = " | ".join(f"{number:,}" for number in columns)
    wrong = ("failed", "refused by LastBit only", "refused by the converter only")
    return f"| {like} | {text} |" + "".join(f" {name}: {counts[name]}" for name in wrong if counts[name])


def main() -> None:
    """Compare every model of some folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--like", default="tflite")
    parser.add_argument("--newton", choices=[newton.name for newton in Newton])
    arguments = parser.parse_args()
    for folder in arguments.folders:
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder")
    folding = converter_named(arguments.like).folding
    if arguments.newton:
        folding = replace(folding, newton=Newton[arguments.newton])
    counts: Counter[str] = Counter()
    paths = [path for folder in arguments.folders for path in sorted(folder.iterdir())]
    for path in (path for path in paths if is_keras(path)):
        stem = path.with_suffix("")
        refused = Path(f"{stem}.error").exists()
        if not (refused or Path(f"{stem}.ranges.tflite").exists() or Path(f"{stem}.float.tflite").exists()):
            continue
        bad = []
        try:
            if refused:
                read_keras(path, folding)
                bad = ["the converter gives up: " + Path(f"{stem}.error").read_text(encoding="utf-8")[-200:]]
                counts["refused by the converter only"] += 1
            else:
                counts["models"] += 1
                bad = check(path, arguments.like, folding, counts)
        except UnsupportedError as error:
            counts["refused by both" if refused else "refused by LastBit only"] += 1
            bad = [] if refused else [str(error)]
        except Exception as error:
            bad = [f"{type(error).__name__}: {error}"]
            counts["failed"] += 1
        for text in bad:
            print(path.name, text)
    print(row(arguments.like, counts))


if __name__ == "__main__":
    main()
