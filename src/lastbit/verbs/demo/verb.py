"""demo: the forum question, end to end, from its Keras file to the three mistakes in its NumPy code.

"How exactly are quantized dense layers calculated? I took scales, zero points and weights out of my .tflite model,
re-implemented the layer in NumPy, and my numbers differ from the interpreter's." The thread is at
https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089

The Keras file and the real converter's .tflite of it are recorded (`lab/record/question.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import combinations
from textwrap import wrap
from typing import Any

import numpy as np

from ...layers.differences import steps_of
from ...layers.mistakes import MISTAKES
from ...model.errors import OracleMissingError
from ...model.extras import install_text
from ...model.graph import Model
from ...model.types import Array
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.layer import DenseLayer, dense_layer
from ...ops.prepare import prepare_operator
from ...oracles import on_this_machine, open_oracle
from ...report.blocks import Block, Code, Heading, Report, Text
from ..diagnose.verb import diagnose
from ..diff.differences import What, compare_graphs
from ..quantize.keras import read_keras
from ..quantize.verb import quantize
from ..run.verb import load, run
from .numpy_code import body_of, numpy_as_asked, numpy_right

__all__ = ["Demo", "demo", "demo_model", "numpy_as_asked", "numpy_right", "random_data"]

SAMPLES = 200
CALIBRATION_SAMPLES = 100
# Those that run such a .tflite file themselves, as it is.
RUNTIMES_SHOWN = (
    on_this_machine("litert-xnnpack"),
    on_this_machine("litert-builtin-x86"),
    on_this_machine("litert-reference"),
    "tflm",
)
DEFAULT_SHOWN = RUNTIMES_SHOWN[0]

Progress = Callable[[int, int, str], None]


def demo_model(granularity: str = "per_channel") -> Model:
    """One of the dense models that LastBit carries: input 16x48 int8, 32 units, no bias.

    Args:
        granularity: `per_channel` (the converter's default today) or `per_tensor`.
    """
    return load(_carried(f"forum_dense_{granularity}.tflite"))


def random_data() -> Array:
    """The random samples: 100 for calibration, then 200 to compare with; float32 [300, 16, 48].

    RandomState's numbers are the same in every version of NumPy.
    """
    shape = (CALIBRATION_SAMPLES + SAMPLES, 16, 48)
    samples: Array = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
    return samples


@dataclass(frozen=True)
class FromKeras:
    """How the int8 model was made of the Keras file.

    Attributes:
        model: the int8 model.
        reader: what read the Keras file, or why a float model that LastBit carries was taken.
        calibrator: who measured the ranges.
        converter: whose file it was compared with.
        tensors: how many quantized tensors were compared.
        equal: how many have the same data, scales and zero points.
        ranges_differ: whether this machine measured other ranges; then the converter's were taken to compare.
    """

    model: Model
    reader: str
    calibrator: str
    converter: str
    tensors: int
    equal: int
    ranges_differ: bool


@dataclass(frozen=True, eq=False, repr=False)
class Demo(Report):
    """The result of `demo`.

    Attributes:
        made: how the int8 model was made of the Keras file.
        layer: its dense layer.
        element: (row, unit) of the element that is worked, one at which runtimes differ.
        steps: its lines.
        printed: runtime -> what it prints for that element.
        outputs: outputs compared for each runtime.
        oracles: runtime -> (interpreter and version, mode, outputs that differ from LastBit's), or why it is absent.
        between: (runtime, runtime) -> outputs that differ.
        asked: outputs that the question's code gets right.
        mistakes: the names of the mistakes in it, as `diagnose` finds them.
        corrected: outputs that the corrected code gets right.
    """

    made: FromKeras
    layer: DenseLayer
    element: tuple[int, int]
    steps: tuple[str, ...]
    printed: Mapping[str, int]
    outputs: int
    oracles: Mapping[str, tuple[str, str, int] | str]
    between: Mapping[tuple[str, str], int]
    asked: int
    mistakes: tuple[str, ...]
    corrected: int

    @property
    def exit_code(self) -> int:
        """0: equal at every step. 1: something differs. 4: an interpreter is not installed."""
        found = list(self.oracles.values())
        differs = any(not isinstance(entry, str) and entry[2] for entry in found)
        if differs or self.made.equal != self.made.tensors or self.corrected != self.outputs:
            return 1
        return 4 if any(isinstance(entry, str) for entry in found) else 0

    def as_dict(self) -> dict[str, Any]:
        """The demo as plain data, schema lastbit.demo/2."""
        made = self.made
        return {
            "schema": "lastbit.demo/2",
            "quantized": {
                "reader": made.reader,
                "calibrator": made.calibrator,
                "converter": made.converter,
                "tensors": made.tensors,
                "equal": made.equal,
                "ranges_differ": made.ranges_differ,
            },
            "outputs": self.outputs,
            "runtimes": {
                name: {"missing": e} if isinstance(e, str) else {"interpreter": e[0], "mode": e[1], "differences": e[2]}
                for name, e in self.oracles.items()
            },
            "between": [{"a": a, "b": b, "differences": n} for (a, b), n in self.between.items()],
            "question_code_right": self.asked,
            "question_code_mistakes": list(self.mistakes),
            "corrected_code_right": self.corrected,
        }

    def in_short(self) -> list[str]:
        """What is equal, and how many outputs the question's code and the right one have."""
        missing = sum(isinstance(entry, str) for entry in self.oracles.values())
        equal = sum(not isinstance(entry, str) and not entry[2] for entry in self.oracles.values())
        return [
            f"{self.made.equal} of {self.made.tensors} quantized tensors equal {self.made.converter}'s",
            f"{equal} of {len(self.oracles)} runtimes equal their real interpreter ({missing} not installed)",
            f"the question's code has {self.asked} of {self.outputs} outputs right ({', '.join(self.mistakes)}), the "
            f"corrected one {self.corrected}",
        ]

    def blocks(self) -> list[Block]:
        """The question; Keras to int8; the runtimes; one output by hand; the question's code and the right one."""
        return [
            Text(
                "A forum question: a Keras Dense(32) on 16x48 becomes an int8 .tflite file.\n"
                "Its numbers, put into NumPy, do not print what the interpreter prints."
            ),
            *_made_blocks(self.made, self.layer),
            *_runtime_blocks(self),
            Heading(f"3. One output by hand: row {self.element[0]}, unit {self.element[1]}, where runtimes differ"),
            Code("\n".join(self.steps)),
            *_code_blocks(self),
        ]


def demo(progress: Progress | None = None) -> Demo:
    """Take the forum question end to end.

    Args:
        progress: called with (steps done, steps in total, what is done next).

    Returns:
        The Demo; its `exit_code` is 0 when nothing differs at any step and all four interpreters are there.
    """
    work = ["Keras to int8", *RUNTIMES_SHOWN, "diagnose"]

    def step(what: str) -> None:
        if progress is not None:
            progress(work.index(what), len(work), what)

    step(work[0])
    made = _from_keras()
    layer = dense_layer(made.model, made.model.dense_operators[0])
    x = _quantized(random_data()[CALIBRATION_SAMPLES:], layer)
    outputs: dict[str, Array] = {}
    oracles: dict[str, tuple[str, str, int] | str] = {}
    for name in RUNTIMES_SHOWN:
        step(name)
        outputs[name] = run(made.model, x, name).output
        oracles[name] = _asked_oracle(name, made.model, x, outputs[name])
    step(work[-1])
    named = diagnose(made.model, None, numpy_as_asked, runtime=DEFAULT_SHOWN)
    default = outputs[DEFAULT_SHOWN]
    numbers = _numbers(layer)
    rows, shape = x.reshape(-1, layer.depth), default.shape
    element, steps = _worked(made.model, layer, rows, default, outputs["tflm"])
    return Demo(
        made=made,
        layer=layer,
        element=element,
        steps=steps,
        printed={name: int(output.reshape(-1, layer.units)[element]) for name, output in outputs.items()},
        outputs=default.size,
        oracles=oracles,
        between={(a, b): int((outputs[a] != outputs[b]).sum()) for a, b in combinations(RUNTIMES_SHOWN, 2)},
        asked=int((np.asarray(numpy_as_asked(rows, *numbers)).reshape(shape) == default).sum()),
        mistakes=tuple(mistake.name for mistake in named.mistakes),
        corrected=int((np.asarray(numpy_right(rows, *numbers)).reshape(shape) == default).sum()),
    )


def _carried(name: str) -> bytes:
    return (resources.files("lastbit") / "data" / name).read_bytes()


def _from_keras() -> FromKeras:
    """The question's Keras file as an int8 model, compared with the real converter's."""
    about = json.loads(_carried("question.json"))
    source, reader = _float_model()
    wanted = load(_carried("question.int8.tflite"))
    ends = {48: about["ranges"]["input"], 32: about["ranges"]["output"]}
    recorded = {tensor.index: ends[tensor.shape[-1]] for tensor in source.tensors if tensor.data is None}
    from_recorded = quantize(source, ranges=recorded, io="int8")
    try:
        made = quantize(source, random_data()[:CALIBRATION_SAMPLES], io="int8")
        calibrator = made.description.rpartition("ranges by ")[2]
    except OracleMissingError:
        made, calibrator = from_recorded, "the converter (LiteRT is not installed here)"
    tensors, as_recorded = _equal_tensors(made, from_recorded)
    ranges_differ = as_recorded != tensors
    tensors, equal = _equal_tensors(from_recorded if ranges_differ else made, wanted)
    converter = f"TFLiteConverter of TensorFlow {about['tensorflow']}"
    return FromKeras(made, reader, calibrator, converter, tensors, equal, ranges_differ)


def _float_model() -> tuple[Model, str]:
    """The float32 model of the Keras file, and what read it."""
    try:
        with resources.as_file(resources.files("lastbit") / "data" / "question.keras") as path:
            return read_keras(path), "read"
    except OracleMissingError:
        model = load(_carried("question.float.tflite"))
        return model, f"not read: the float model made of it is carried; to read it: {install_text('keras')}"


def _equal_tensors(first: Model, second: Model) -> tuple[int, int]:
    """How many pairs of quantized tensors two models have, and how many of them are equal except for the open batch."""
    pairing, differences = compare_graphs(first.subgraphs[0], second.subgraphs[0])
    pairs = [(p.first, p.second) for p in pairing.tensors if p.first is not None and p.second is not None]
    quantized = {(a.index, b.index) for a, b in pairs if a.quant is not None or b.quant is not None}
    counted = {What.TYPE, What.GRANULARITY, What.SCALE, What.ZERO_POINT, What.DATA}
    differing = {d.tensors for d in differences if d.what in counted}
    return len(quantized), len(quantized - differing)


def _quantized(samples: Array, layer: DenseLayer) -> Array:
    """Real numbers as the input's int8."""
    steps: Array = np.rint(samples / layer.input_scale) + layer.input_zero_point
    return np.clip(steps, -128, 127).astype(np.int8)


def _numbers(layer: DenseLayer) -> tuple[Any, ...]:
    """What the question took out of the file: weights, then scale and zero point of input, weights and output."""
    return (
        layer.weights_values,
        layer.input_scale,
        layer.input_zero_point,
        layer.weights_scale,
        layer.weights_zero_point,
        layer.output_scale,
        layer.output_zero_point,
    )


def _asked_oracle(name: str, model: Model, x: Array, ours: Array) -> tuple[str, str, int] | str:
    """The real interpreter, its mode and how many of its outputs differ from ours; or why it is absent."""
    try:
        with open_oracle(name) as oracle:
            result = oracle.run(bytes(model.content), [[sample[None]] for sample in x], label="the demo model")
            found = oracle.fingerprint
    except OracleMissingError as error:
        return str(error)
    real = np.concatenate([sample[0] for sample in result.outputs])
    return f"{found.oracle} {found.version}", found.mode, int((real != ours).sum())


def _worked(
    model: Model, layer: DenseLayer, rows: Array, default: Array, tflm: Array
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """The first element at which LiteRT and TensorFlow Lite Micro differ, and its calculation in LiteRT."""
    row, unit = (int(i) for i in np.argwhere((default != tflm).reshape(-1, layer.units))[0])
    prepared = prepare_operator(model, layer.operator, DEFAULT_SHOWN)
    assert isinstance(prepared, PreparedDense)
    x = rows[row].astype(np.int64) - layer.input_zero_point
    w = layer.weights_values[unit].astype(np.int64) - layer.weights_zero_point
    products = " + ".join(f"({a})({b})" for a, b in zip(x[:3], w[:3], strict=True))
    acc = int(x @ w)
    s_x, s_w, s_y = (str(scale) for scale in (layer.input_scale, layer.weights_scale[unit], layer.output_scale))
    lines = ["acc = sum (x - zx) w;  m = s_x s_w / s_y;  y = clamp(zy + round(acc m))"]
    lines.append(f"acc = {products} + ... ({layer.depth} products) = {acc}")
    for step in steps_of(prepared, acc, unit):
        value = str(step.value.numerator) if step.value.denominator == 1 else str(np.float32(float(step.value)))
        what = f"m = {s_x} * {s_w} / {s_y}" if step.name == "effective_scale" else step.name
        lines.append(f"{what} = {value}" + (f"   ({step.effect})" if step.effect else ""))
    return (row, unit), tuple(lines)


def _made_blocks(made: FromKeras, layer: DenseLayer) -> list[Block]:
    lines = [f"{'':8} {'shape':14} {'scale':27} zero point"]
    for what, tensor in (("input", layer.input), ("weights", layer.weights), ("output", layer.output)):
        assert tensor.quant is not None
        count = tensor.quant.scale.size
        scale = str(tensor.quant.scale[0]) + (f" ... ({count} scales)" if count > 1 else "")
        shape = f"{tensor.dtype.name}{list(tensor.shape)}"
        lines.append(f"{what:8} {shape:14} {scale:27} {int(tensor.quant.zero_point[0])}")
    if made.ranges_differ:
        lines.append("Other ranges were measured on this CPU; compared from the converter's.")
    good = made.equal == made.tensors
    return [
        Heading("1. The Keras file to int8, without TensorFlow: lastbit quantize question.keras"),
        Text(f"question.keras: {made.reader}; ranges of 100 random samples by {made.calibrator}."),
        Code("\n".join(lines)),
        Text(
            f"{made.equal} of {made.tensors} quantized tensors equal those of {made.converter}.",
            "good" if good else "bad",
        ),
    ]


def _runtime_blocks(found: Demo) -> list[Block]:
    lines = [f"{'runtime':22} {'real interpreter':34} {'differ':>8}"]
    for name, entry in found.oracles.items():
        interpreter, count = (entry[0], str(entry[2])) if not isinstance(entry, str) else ("not installed", "-")
        lines.append(f"{name:22} {interpreter:34} {count:>8}")
    apart = max(found.between.items(), key=lambda item: item[1])
    lines.append(f"Between {apart[0][0]} and {apart[0][1]}: {apart[1]} outputs differ.")
    missing = ["Some are missing: `lastbit doctor` says how to get them."] if found.exit_code == 4 else []
    return [
        Heading(f"2. LastBit and the real interpreters, {found.outputs:,} outputs each"),
        Code("\n".join([*lines, *missing])),
    ]


def _code_blocks(found: Demo) -> list[Block]:
    lines = []
    for number, name in enumerate(found.mistakes, 1):
        mistake = MISTAKES[name]
        lines += [f"{number}. {name}:", *wrap(mistake.why, 72, initial_indent="   ", subsequent_indent="   ")]
        lines.append(f"   right: {mistake.fix_numpy}")
    return [
        Text("Printed: " + ", ".join(f"{name} {y}" for name, y in found.printed.items())),
        Heading("4. The question's NumPy code, and what `lastbit diagnose` finds in it"),
        Code(body_of(numpy_as_asked)),
        Text(f"{found.asked} of {found.outputs:,} outputs are right. These mistakes reproduce every number:", "bad"),
        Code("\n".join(lines)),
        Heading("5. The same layer, right, in three lines"),
        Code(body_of(numpy_right)),
        Text(
            f"{found.corrected:,} of {found.outputs:,} outputs equal those of {DEFAULT_SHOWN}.",
            "good" if found.corrected == found.outputs else "bad",
        ),
    ]
