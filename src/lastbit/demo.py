"""demo: the forum question, end to end, on two dense models that LastBit carries.

"How exactly are quantized dense layers calculated? I took scales, zero points and weights out of my .tflite model,
re-implemented the layer in NumPy, and my numbers differ from the interpreter's." The thread is at
https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from .api import load, run
from .differences import steps_of
from .errors import OracleMissingError
from .model import Model
from .ops.dense_8bit import PreparedDense
from .ops.dense_layer import DenseLayer, dense_layer
from .oracles import on_this_machine, open_oracle
from .prepare import prepare_operator
from .report import Block, Code, Heading, Report, Table, Text
from .types import Array

__all__ = ["Demo", "demo", "demo_model", "numpy_as_asked", "numpy_right"]

SAMPLES = 200
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
    path = resources.files("lastbit") / "data" / f"forum_dense_{granularity}.tflite"
    return load(path.read_bytes())


def numpy_as_asked(
    x: Array, w: Array, s_x: np.float32, z_x: int, s_w: Array, z_w: int, s_y: np.float32, z_y: int
) -> Any:
    """The question's way, with its three mistakes, in LastBit's own words."""
    scale = s_x * s_w[0] / s_y  # channel 0's scale, for every channel
    product = x @ w.T  # int8 @ int8 stays int8 and wraps
    correction = z_x * w.sum(axis=1) + z_w * x.sum(axis=1, keepdims=True) - w.shape[1] * z_x * z_w
    return z_y + scale + (product - correction)  # the scale is added


def numpy_right(x: Array, w: Array, s_x: np.float32, z_x: int, s_w: Array, z_w: int, s_y: np.float32, z_y: int) -> Any:
    """The same in LiteRT's default arithmetic (XNNPACK), without bias or activation."""
    acc = (x.astype(np.int32) - z_x) @ (w.astype(np.int32) - z_w).T
    scaled = acc.astype(np.float32) * (s_x * s_w / s_y)  # float32, each channel its own scale
    return np.clip(np.rint(scaled) + z_y, -128, 127).astype(np.int8)  # ties to even


@dataclass(frozen=True)
class ModelDemo:
    """What the demo found on one model.

    Attributes:
        granularity: of the weights.
        layer: the dense layer.
        steps: the worked element's lines.
        element: (row, unit) of the worked element, one at which runtimes differ.
        printed: runtime -> what it prints for that element.
        outputs: outputs compared for each runtime.
        oracles: runtime -> (interpreter and version, mode, outputs that differ from LastBit's), or why it is absent.
        between: (runtime, runtime) -> outputs that differ.
        asked: outputs that the question's code gets right.
        right: outputs that the corrected code gets right.
    """

    granularity: str
    layer: DenseLayer
    steps: list[str]
    element: tuple[int, int]
    printed: Mapping[str, int]
    outputs: int
    oracles: Mapping[str, tuple[str, str, int] | str]
    between: Mapping[tuple[str, str], int]
    asked: int
    right: int


class Demo(Report):
    """The result of `demo`."""

    def __init__(self, models: list[ModelDemo]) -> None:
        self.models = models

    @property
    def exit_code(self) -> int:
        """0: every runtime equals its interpreter. 1: something differs. 4: an interpreter is not installed."""
        found = [entry for model in self.models for entry in model.oracles.values()]
        if any(not isinstance(entry, str) and entry[2] for entry in found):
            return 1
        return 4 if any(isinstance(entry, str) for entry in found) else 0

    def as_dict(self) -> dict[str, Any]:
        """The demo as plain data, schema lastbit.demo/1."""
        return {
            "schema": "lastbit.demo/1",
            "models": [
                {
                    "granularity": m.granularity,
                    "outputs": m.outputs,
                    "runtimes": {
                        name: {"missing": e}
                        if isinstance(e, str)
                        else {"interpreter": e[0], "mode": e[1], "differences": e[2]}
                        for name, e in m.oracles.items()
                    },
                    "between": [{"a": a, "b": b, "differences": n} for (a, b), n in m.between.items()],
                    "question_code_right": m.asked,
                    "corrected_code_right": m.right,
                }
                for m in self.models
            ],
        }

    def in_short(self) -> list[str]:
        """How many outputs the question's code and the right one have, for the first model."""
        first = self.models[0]
        missing = sum(isinstance(entry, str) for entry in first.oracles.values())
        equal = sum(not isinstance(entry, str) and not entry[2] for entry in first.oracles.values())
        return [
            f"{equal} of {len(first.oracles)} runtimes equal their real interpreter ({missing} not installed)",
            f"the question's code has {first.asked} of {first.outputs} outputs right, the corrected one {first.right}",
        ]

    def blocks(self) -> list[Block]:
        """The question, then for each model: the layer, one output worked out, the runtimes, the NumPy code."""
        blocks: list[Block] = [
            Heading("How exactly is a quantized dense layer calculated?"),
            Text(
                "The forum question: scales, zero points and weights taken out of a .tflite model, the layer written "
                "again in NumPy, and the numbers do not match the TFLite interpreter's. Here is the same layer "
                "(input 16x48, 32 units, no bias), once with per-channel and once with per-tensor weights."
            ),
        ]
        for model in self.models:
            blocks += _model_blocks(model)
        first = self.models[0]
        blocks += [
            Heading("The question's NumPy code"),
            Code(_body(numpy_as_asked)),
            Text(
                f"{first.asked} of {first.outputs} outputs right ({_percent(first.asked, first.outputs)}). Three "
                "mistakes at once: the int8 product wraps in int8, channel 0's scale is used for every channel, and "
                "the scale is added where it must be multiplied.",
                "bad",
            ),
            Heading("The same layer, right, in three lines"),
            Code(_body(numpy_right)),
            Text(
                f"{first.right} of {first.outputs} outputs right ({_percent(first.right, first.outputs)}) against "
                "LiteRT's default (XNNPACK). Another runtime rounds otherwise: see the table above, and "
                "`lastbit explain MODEL` for any element of your own model.",
                "good" if first.right == first.outputs else "bad",
            ),
        ]
        return blocks


def demo(progress: Progress | None = None) -> Demo:
    """Take the forum question end to end.

    Args:
        progress: called with (steps done, steps in total, what is done next).

    Returns:
        The Demo; its `exit_code` is 0 when each of the four runtimes equals its real interpreter.
    """
    done = 0
    models = []
    for granularity in ("per_channel", "per_tensor"):

        def step(what: str, granularity: str = granularity) -> None:
            nonlocal done
            if progress is not None:
                progress(done, 2 * len(RUNTIMES_SHOWN), f"{granularity}: {what}")
            done += 1

        models.append(_demo(granularity, step))
    return Demo(models)


def _demo(granularity: str, step: Callable[[str], None]) -> ModelDemo:
    model = demo_model(granularity)
    layer = dense_layer(model, model.dense_operators[0])
    rng = np.random.default_rng(48)
    x = rng.integers(-128, 128, (SAMPLES, *layer.input.shape[1:])).astype(np.int8)
    outputs: dict[str, npt.NDArray[Any]] = {}
    oracles: dict[str, tuple[str, str, int] | str] = {}
    for name in RUNTIMES_SHOWN:
        step(name)
        outputs[name] = run(model, x, name).output
        try:
            with open_oracle(name) as oracle:
                result = oracle.run(bytes(model.content), [[sample[None]] for sample in x], label="the demo model")
        except OracleMissingError as error:
            oracles[name] = str(error)
            continue
        real = np.concatenate([sample[0] for sample in result.outputs])
        f = oracle.fingerprint
        oracles[name] = (f"{f.oracle} {f.version}", f.mode, int((real != outputs[name]).sum()))
    names = list(RUNTIMES_SHOWN)
    between = {(a, b): int((outputs[a] != outputs[b]).sum()) for i, a in enumerate(names) for b in names[i + 1 :]}
    numbers = (
        layer.weights_values,
        layer.input_scale,
        layer.input_zero_point,
        layer.weights_scale,
        layer.weights_zero_point,
        layer.output_scale,
        layer.output_zero_point,
    )
    default = outputs[DEFAULT_SHOWN]
    rows = x.reshape(-1, layer.depth)
    asked = np.asarray(numpy_as_asked(rows, *numbers)).reshape(default.shape)
    right = np.asarray(numpy_right(rows, *numbers)).reshape(default.shape)
    prepared = prepare_operator(model, layer.operator, DEFAULT_SHOWN)
    assert isinstance(prepared, PreparedDense)
    disputed = np.argwhere((default != outputs["tflm"]).reshape(-1, layer.units))
    row, unit = (int(i) for i in disputed[0])
    return ModelDemo(
        granularity,
        layer,
        _worked(prepared, rows[row], unit),
        (row, unit),
        {name: int(output.reshape(-1, layer.units)[row, unit]) for name, output in outputs.items()},
        default.size,
        oracles,
        between,
        int((asked == default).sum()),
        int((right == default).sum()),
    )


def _worked(prepared: PreparedDense, row: Array, unit: int) -> list[str]:
    """The equation with its numbers, for one unit."""
    layer = prepared.layer
    x = row.astype(np.int64) - layer.input_zero_point
    w = layer.weights_values[unit].astype(np.int64) - layer.weights_zero_point
    products = " + ".join(f"({a})({b})" for a, b in zip(x[:3], w[:3], strict=True))
    acc = int(x @ w + layer.bias_values[unit])
    *middle, last = steps_of(prepared, acc, unit)
    lines = [
        "y = clamp(zy + round(acc * s_x * s_w / s_y)),  acc = sum_k (x - zx)(w - zw) + bias",
        f"acc = {products} + ... ({layer.depth} products) = {acc}",
    ]
    for step in (*middle, last):
        value = step.value.numerator if step.value.denominator == 1 else repr(float(step.value))
        equation = step.name if step.numbers == str(value) else f"{step.name} = {step.numbers}"
        lines.append(f"{equation} = {value}" + (f"   ({step.effect})" if step.effect else ""))
    real = float(layer.output_scale) * (int(last.value) - layer.output_zero_point)
    lines.append(f"real value = s_y * (y - zy) = {real:.6g}")
    return lines


def _model_blocks(m: ModelDemo) -> list[Block]:
    layer = m.layer
    rows: list[tuple[object, ...]] = []
    for what, tensor in (
        ("input", layer.input),
        ("weights", layer.weights),
        ("bias", layer.bias),
        ("output", layer.output),
    ):
        if tensor is None:
            rows.append((what, "none", "", "", "", ""))
            continue
        assert tensor.quant is not None
        scale = float(tensor.quant.scale[0])
        scales = repr(scale) + (f" ... ({tensor.quant.scale.size} scales)" if tensor.quant.per_channel else "")
        shape = f"{tensor.dtype.name}{list(tensor.shape)}"
        rows.append((what, tensor.index, tensor.name, shape, scales, int(tensor.quant.zero_point[0])))
    runtimes: list[tuple[object, ...]] = []
    for name, entry in m.oracles.items():
        if isinstance(entry, str):
            runtimes.append((name, "not installed: `lastbit doctor`", "", m.outputs, "not compared"))
        else:
            runtimes.append((name, entry[0], entry[1], m.outputs, entry[2]))
    names = list(RUNTIMES_SHOWN)
    matrix = [
        (a, *("-" if a == b else m.between[(a, b) if (a, b) in m.between else (b, a)] for b in names)) for a in names
    ]
    return [
        Heading(f"{m.granularity.replace('_', '-')} weights"),
        Table(
            ("", "tensor", "name", "shape", "scale", "zero point"),
            rows,
            title="Found in the file",
            right=("zero point",),
        ),
        Text(
            f"One output (row {m.element[0]}, unit {m.element[1]}), the first at which runtimes differ, in LiteRT's "
            "default arithmetic:"
        ),
        Code("\n".join(m.steps)),
        Text("What each runtime prints there: " + ", ".join(f"{name} {y}" for name, y in m.printed.items())),
        Table(
            ("runtime", "real interpreter", "kernels", "outputs", "differences"),
            runtimes,
            title="LastBit against the real interpreters",
            right=("outputs", "differences"),
        ),
        Table(
            ("", *names),
            matrix,
            title=f"Outputs of {m.outputs} that differ between runtimes (random inputs: a 0 is no proof of equality)",
            right=names,
        ),
    ]


def _body(function: Callable[..., Any]) -> str:
    """A function's body without its signature and docstring."""
    source = inspect.cleandoc(inspect.getsource(function).split('"""')[2])
    return source


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.4g} %"
