"""Record what real interpreters make of QUANTIZE, DEQUANTIZE, RELU*, SOFTMAX, LOGISTIC and TANH.

    python -m lab record activations [--seed S] [--cases N]

Writes tests/recorded/activations/inputs.npz, every case's description (JSON) and input, and <runtime>.npz, what
became of each case and its output, with the interpreter's fingerprint. tests/ops/elements/test_activations.py holds the
prepared operators against it, and uses `cases` with other seeds against the interpreters themselves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lastbit.model.graph import Model, Operator, Subgraph, Tensor
from lastbit.model.tflite import write
from lastbit.model.types import DTYPES, QuantParams
from lastbit.oracles import OracleFailure, open_oracle

GOLDEN = Path(__file__).parents[2] / "tests" / "recorded" / "activations"
RUNTIMES = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")
_DTYPE = {dtype.name: dtype for dtype in DTYPES.values()}
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Case:
    """One operator with one input and one output, and the values fed to it.

    Attributes:
        op: the operator's name.
        source: element type, scale and zero point of the input; scale None for floats.
        output: the same of the output.
        values: the input, at least one axis.
        options: the operator's options.
    """

    op: str
    source: tuple[str, float | None, int]
    output: tuple[str, float | None, int]
    values: Array
    options: dict[str, float] = field(default_factory=dict)

    def graph(self) -> Subgraph:
        """The graph of this one operator."""
        tensors = []
        for index, (dtype, scale, zero_point) in enumerate((self.source, self.output)):
            quant = None
            if scale is not None:
                quant = QuantParams(np.asarray([scale], np.float32), np.asarray([zero_point], np.int64))
            shape = self.values.shape
            tensors.append(Tensor(index, f"t{index}", shape, shape, _DTYPE[dtype], quant, None))
        operator = Operator(0, self.op, 1, (0,), (1,), self.options)
        return Subgraph("main", tuple(tensors), (operator,), (0,), (1,))

    def model(self) -> Model:
        """The same as a Model, without bytes."""
        return Model((self.graph(),), "", 3, b"")

    def describe(self) -> str:
        """Everything but the values, as JSON; floats survive it unchanged."""
        return json.dumps({key: value for key, value in asdict(self).items() if key != "values"})


def _range(dtype: str) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _zero_point(rng: np.random.Generator, dtype: str) -> int:
    low, high = _range(dtype)
    return int(rng.choice([low, high, (low + high + 1) // 2, rng.integers(low, high + 1)]))


def _scale(rng: np.random.Generator, low: float = -9, high: float = 1) -> float:
    """Powers of two as often as anything else, since ties need them."""
    value = 2.0 ** int(rng.integers(-8, 2)) if rng.random() < 0.4 else np.exp(rng.uniform(low, high))
    return float(np.float32(value))


def _all(dtype: str, rng: np.random.Generator) -> Array:
    """All values of an 8-bit type, with an odd number of them every other time; 200 values of int16."""
    low, high = _range(dtype)
    if dtype == "int16":
        values = np.concatenate([rng.integers(low, high + 1, 192), [low, low + 1, -1, 0, 1, 2, high - 1, high]])
    else:
        values = np.arange(low, high + 1)
        if rng.random() < 0.5:
            values = rng.permutation(values)[: int(rng.integers(1, 256))]
    return values.astype(dtype).reshape(1, -1)


def _floats(rng: np.random.Generator, scale: float, zero_point: int, dtype: str) -> Array:
    """Ties and their neighbours over the whole range, and values that no integer holds."""
    low, high = _range(dtype)
    steps = rng.integers(low - zero_point - 3, high - zero_point + 4, 60)
    with np.errstate(over="ignore", under="ignore"):
        at = np.concatenate([steps, steps + 0.5]).astype(np.float64) * scale
        at = at.astype(np.float32)
        inf = np.float32(np.inf)
        huge = np.float32([2**31, -(2**31), 2**31 - 128, 2**15, -(2**15), 3 * 2**30]) * np.float32(scale)
        special = np.float32([0.0, -0.0, 1e-45, -1e-39, 1e10, -1e10, inf, -inf, np.nan])
        parts = [at, np.nextafter(at, inf), np.nextafter(at, -inf), huge, special]
    values = rng.permutation(np.concatenate(parts)).astype(np.float32)
    return values[: values.size - int(rng.integers(0, 17))].reshape(1, -1)


def _rows(rng: np.random.Generator, dtype: str, depth: int) -> Array:
    """Softmax rows: flat, random, near the maximum, one peak, few distinct values."""
    low, high = _range(dtype)
    rows = [
        np.full(depth, rng.integers(low, high + 1)),
        rng.integers(low, high + 1, depth),
        high - rng.integers(0, 8, depth),
        np.maximum(high - rng.geometric(0.05, depth), low),
        np.where(np.arange(depth) == rng.integers(depth), high, low),
        np.clip(rng.integers(low, high + 1) + rng.integers(-2, 3, depth), low, high),
    ]
    return np.asarray(rows).astype(dtype)


def cases(seed: int, count: int) -> Iterator[Case]:
    """`count` cases of every family: random and adversarial scales, zero points at the ends, ties."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        for dtype in ("int8", "uint8", "int16"):
            scale, zero = _scale(rng), _zero_point(rng, dtype)
            yield Case("QUANTIZE", ("float32", None, 0), (dtype, scale, zero), _floats(rng, scale, zero, dtype))
            yield Case("DEQUANTIZE", (dtype, scale, zero), ("float32", None, 0), _all(dtype, rng))
        yield from _requantize(rng)
        yield from _curves(rng, number)
        yield from _softmax(rng, number)


def _requantize(rng: np.random.Generator) -> Iterator[Case]:
    pairs = (("int8", "int8"), ("int8", "uint8"), ("uint8", "int8"), ("uint8", "uint8"))
    for source, output in (*pairs, ("int8", "int16"), ("int16", "int8"), ("int16", "int16")):
        to = 2.0 ** int(rng.integers(-8, 1)) if rng.random() < 0.5 else _scale(rng)
        factor = rng.choice([1.0, 1.5, 0.0625, int(rng.integers(1, 300)) / 128, np.exp(rng.uniform(-6, 5))])
        zeros = [0 if source == output == "int16" else _zero_point(rng, dtype) for dtype in (source, output)]
        given = (source, float(np.float32(to * factor)), zeros[0])
        yield Case("QUANTIZE", given, (output, to, zeros[1]), _all(source, rng))
        if source == output:
            for name in ("RELU", "RELU6") if source == "int16" else ("RELU", "RELU6", "RELU_N1_TO_1"):
                yield Case(name, given, (output, to, zeros[1]), _all(source, rng))


def _curves(rng: np.random.Generator, number: int) -> Iterator[Case]:
    for dtype in ("int8", "uint8", "int16"):
        low, high = _range(dtype)
        wide = dtype == "int16"
        for name, steps in (("LOGISTIC", 32768 if wide else 256), ("TANH", (high - low + 1) / 2)):
            zero = low if name == "LOGISTIC" and not wide else (low + high + 1) // 2
            output = (dtype, 1 / steps, zero)
            # Every third 8-bit output has a scale of its own, half of those with ties where the curve is
            # flat.
            if number % 3 == 0 and not wide:
                tie = 1 / (2 * int(rng.integers(0, 100)) + 1) if number % 2 else np.exp(rng.uniform(-6, 0))
                output = (dtype, float(np.float32(tie)), _zero_point(rng, dtype))
            source = (
                dtype,
                _scale(rng, -12, -3) if wide else _scale(rng),
                0 if wide else _zero_point(rng, dtype),
            )
            yield Case(name, source, output, _all(dtype, rng))


def _softmax(rng: np.random.Generator, number: int) -> Iterator[Case]:
    depth = (1, 2, 10, 257, 3, 16, 31, 100, 5, 511)[number % 10]
    beta = float(np.float32((1.0, 1.0, 0.5, 2.0, np.exp(rng.uniform(-3, 3)))[number % 5]))
    wanted = {
        ("int8", "int8"): (1 / 256, -128),
        ("uint8", "uint8"): (1 / 256, 0),
        ("int8", "int16"): (1 / 65536, -32768),
        ("int16", "int16"): (1 / 32768, 0),
    }
    for (source, output), (scale, zero) in wanted.items():
        wide = source == "int16"
        given = (
            source,
            _scale(rng, -12, -5) if wide else _scale(rng),
            0 if wide else _zero_point(rng, source),
        )
        rows = _rows(rng, source, depth)
        yield Case("SOFTMAX", given, (output, scale, zero), rows, {"beta": beta})


def record(runtime: str, given: list[Case]) -> dict[str, Array]:
    """Run the cases on one real interpreter: the arrays of its golden file.

    All outputs lie one after the other in `outputs`, in bytes; one archive entry each would be mostly
    overhead.
    """
    outcomes, outputs = [], []
    with open_oracle(runtime) as oracle:
        fingerprint = oracle.fingerprint.as_dict()
        for case in given:
            try:
                run = oracle.run(write(case.graph()), [[case.values]])
            except OracleFailure as failure:
                outcomes.append(failure.kind)
            else:
                outcomes.append("delegated" if run.delegated else "ran")
                outputs.append(np.ascontiguousarray(run.outputs[0][0]).tobytes())
    return {
        "fingerprint": np.asarray(json.dumps(fingerprint)),
        "outcomes": np.asarray(json.dumps(outcomes)),
        "outputs": np.frombuffer(b"".join(outputs), np.uint8),
    }


def main() -> None:
    """Write every golden file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--cases", type=int, default=8)
    arguments = parser.parse_args()
    given = list(cases(arguments.seed, arguments.cases))
    GOLDEN.mkdir(parents=True, exist_ok=True)
    described = [{**json.loads(case.describe()), "shape": case.values.shape} for case in given]
    inputs = b"".join(np.ascontiguousarray(case.values).tobytes() for case in given)
    files: dict[str, dict[str, Array]] = {
        "inputs": {"cases": np.asarray(json.dumps(described)), "inputs": np.frombuffer(inputs, np.uint8)},
        **{runtime: record(runtime, given) for runtime in RUNTIMES},
    }
    for name, arrays in files.items():
        path = GOLDEN / f"{name}.npz"
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
