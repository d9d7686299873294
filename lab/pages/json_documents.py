"""The JSON that LastBit prints and writes: documents of every kind, and their JSON Schemas (docs/schemas).

    python -m lab pages schemas --write

runs every command with `--json` on small models, and writes a schema for each kind of document that it sees. A test
runs the same commands and checks every document with the recorded schemas: a key that appears, vanishes or changes its
type is noticed, and docs/api.md says what must follow.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from lab.cases.operators import Case, Operand
from lastbit.cli import main as lastbit
from lastbit.model.graph import Operator, Subgraph
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "schemas"
MODELS = ROOT.parent / "shared" / "models"

# Each line is a command; {folder} is where the inputs of `fill` lie. Those that ask real interpreters stand apart.
OFFLINE = (
    "inspect {m}",
    "inspect {m} --op 0",
    "inspect {hybrid} --op 0",
    "inspect {float} --op 0",
    "run {m} -i {x} -o {folder}/out.npz --runtime tflm",
    "run {m} -i {x} -o {folder}/all.npz --runtime tflm --all",
    "explain {m} -i {x} --at 0,3 --runtime tflm",
    "explain {m} -i {x} --at 0,3 --runtime litert-xnnpack",
    "explain {hybrid} --seed 1 --runtime litert-builtin-x86",
    "explain {add} --seed 1 --runtime litert-builtin-x86",
    "explain {conv} --seed 1 --runtime tflm",
    "explain {relu} --seed 1 --runtime litert-reference",
    "inspect {add} --op 0",
    "inspect {conv} --op 0",
    "explain {m} --tensor 1",
    "diagnose {m} -i {x} --output {y} --runtime tflm",
    "diagnose {m} -i {x} --output {wrong}",
    "diagnose {m} --code {code}:fitted",
    "diagnose {two} --code {code}:network",
    "diagnose {hybrid} --code {code}:hybrid",
    "thresholds {m} --runtime tflm",
    "thresholds {m} --runtime tflm --channel 1",
    "identify {m} -i {x} --output {y}",
    "identify {m} -i {x} --output {wrong}",
    "identify {m} --recorded {recording}",
    "record {m} -o {folder}/recorder",
    "evaluate {m} --data {x} --runtime tflm --runtime litert-reference",
    "evaluate {m} --data {x} --labels {labels} --runtime tflm --runtime litert-xnnpack -o {folder}/report.json",
    "diff {m} {m}",
    "diff {m} {other}",
    "runtimes",
    "runtimes --operators",
    "runtimes tflm litert-xnnpack@2.1.6",
    "compare {m} --runtime tflm --runtime cmsis-nn --no-oracle",
    "vectors {m} --runtime tflm --random 20 -o {folder}/vectors --no-oracle",
    "vectors {hybrid} --runtime litert-reference --random 20 -o {folder}/hybrid_vectors --no-oracle",
    "export {m} --runtime tflm -o {folder}/c --name small",
    "quantize {float} --ranges {ranges} -o {folder}/quantized.tflite",
    "extract {m} --op 0 -o {folder}/one.tflite",
    "doctor",
)
LIVE = (
    "verify {m} --samples 4 --runtime tflm --runtime litert-reference",
    "prove {m} --runtime tflm",
    "compare {m} --runtime tflm --runtime litert-reference --samples 200",
    "bench {m} --batch 1 --seconds 0.05 --no-memory",
    "quantize {float} --data {real} -o {folder}/measured.tflite --ranges-out {folder}/ranges.json",
    "demo",
)
# On real models, where they are: what varies there and not in small ones (operators' options, types, refusals).
ON_MODELS = ("inspect {model}", "explain {model} --seed 1", "thresholds {model} --runtime tflm", "diff {model} {{m}}")


def fill(folder: Path) -> dict[str, str]:
    """Small models and inputs in a folder: the names that stand in the commands, and their files."""
    rng = np.random.default_rng(5)
    weights = rng.integers(-127, 128, (5, 7)).astype(np.int8)
    bias = rng.integers(-2000, 2000, 5)
    scales = {"input_quant": quant(0.02, 3), "output_quant": quant(0.02, -5)}
    models = {
        "m": dense_subgraph(weights, weights_quant=quant([0.005]), bias=bias, **scales),
        "other": dense_subgraph(weights, weights_quant=quant([0.006]), bias=bias + 1, **scales),
        "hybrid": _real_valued(weights, weights_quant=quant(rng.uniform(0.001, 0.02, 5)), weights_dtype="int8"),
        "float": _real_valued((weights / 100).astype(np.float32), weights_quant=None, weights_dtype="float32"),
    }
    models["two"] = _two_layers(rng)
    names = {"folder": str(folder)}
    for name, graph in models.items():
        path = folder / f"{name}.tflite"
        path.write_bytes(write(graph))
        names[name] = str(path)
    for name, case in _operators(rng).items():
        (folder / f"{name}.tflite").write_bytes(case.content())
        names[name] = str(folder / f"{name}.tflite")
    x = rng.integers(-128, 128, (4, 7)).astype(np.int8)
    y = _first_output(names["m"], x)
    arrays = {"x": x, "y": y, "wrong": y + np.int8(5), "labels": np.array([0, 1, 2, 3]), "real": x / np.float32(100)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
        names[name] = str(folder / f"{name}.npy")
    names["code"] = str(folder / "code.py")
    (folder / "code.py").write_text(_CODE, encoding="utf-8")
    names["recording"] = _recording(folder, write(models["m"]), x[:1], y[:1])
    tensors = {"input": [-1.0, 1.5], "output": [-4.0, 4.0]}
    names["ranges"] = str(folder / "given.json")
    (folder / "given.json").write_text(json.dumps(tensors), encoding="utf-8")
    return names


_CODE = """import numpy as np


def fitted(x, w, b, zx, m, zy):
    return np.clip(np.rint(((x.astype(int) - zx) @ w.T.astype(int) + b) * m * 1.037) + zy, -128, 127)


def network(x):
    return {"first": np.tile(x[:, :1], 6), "last": np.tile(x[:, :1], 5)}


def hybrid(x, w, s_w):
    return x @ (w * s_w.reshape(-1, 1)).astype(np.float32).T
"""


def _two_layers(rng: np.random.Generator) -> Subgraph:
    """Two dense layers, one after the other."""
    options = {"fused_activation_function": "NONE", "weights_format": "DEFAULT", "keep_num_dims": False}
    options |= {"asymmetric_quantize_inputs": False, "quantized_bias_type": "float32"}
    operands, operators = [Operand((1, 7), "int8", 0.02, 3)], []
    for index, (depth, units) in enumerate(((7, 6), (6, 5))):
        place = len(operands)
        operands += [
            Operand((units, depth), "int8", 0.01, 0, rng.integers(-127, 128, (units, depth))),
            Operand((1, units), "int8", 0.1, -4),
        ]
        inputs = (place - 1, place, -1)
        operators.append(Operator(index, "FULLY_CONNECTED", 4, inputs, (place + 1,), options))
    tensors = tuple(operand.tensor(index) for index, operand in enumerate(operands))
    return Subgraph("main", tensors, tuple(operators), (0,), (len(tensors) - 1,))


def _operators(rng: np.random.Generator) -> dict[str, Case]:
    """Models of one operator that is no dense layer."""
    none = {"fused_activation_function": "NONE"}
    window = {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1, "padding": "SAME"}
    image, line = Operand((1, 3, 3, 2), scale=0.02), Operand((1, 40), scale=0.03, zero_point=3)
    kernel = Operand((4, 2, 2, 2), scale=0.004, data=rng.integers(-127, 128, (4, 2, 2, 2)))
    bias = Operand((4,), "int32", 0.00008, data=rng.integers(-200, 200, 4))
    return {
        "add": Case("ADD", (line, Operand((1, 40), scale=0.01)), (Operand((1, 40), scale=0.04),), (), none),
        "conv": Case("CONV_2D", (image, kernel, bias), (Operand((1, 3, 3, 4), scale=0.05),), (), {**window, **none}, 3),
        "relu": Case("RELU", (line,), (Operand((1, 40), scale=0.02, zero_point=-128),), (), {}),
    }


def _real_valued(weights: Any, **options: Any) -> Any:
    bias = np.linspace(-1, 1, len(weights)).astype(np.float32)
    shape = (1, weights.shape[1])
    kinds = {"input_quant": None, "output_quant": None, "input_dtype": "float32", "bias_dtype": "float32"}
    return dense_subgraph(weights, bias=bias, input_shape=shape, **kinds, **options)


def _recording(folder: Path, content: bytes, x: np.ndarray, y: np.ndarray) -> str:
    """What a recorder brings back of a model with one operator."""
    told = {"interpreter": "tflite-micro", "kernels": "default", "cpu": "", "platform": "Linux-aarch64"}
    about = {"schema": "lastbit.recording/1", "model_sha256": hashlib.sha256(content).hexdigest(), "samples": 1, **told}
    graph = load(content)
    ends = {f"0/{graph.inputs[0].index}": x, f"0/{graph.outputs[0].index}": y, f"0/end/{graph.outputs[0].index}": y}
    np.savez(folder / "recording.npz", about=np.asarray(json.dumps(about)), **ends)  # type: ignore[arg-type]
    return str(folder / "recording.npz")


def _first_output(model: str, x: Any) -> Any:
    import lastbit as library

    return library.run(model, x, "tflm").output


def documents(commands: tuple[str, ...], folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each command's JSON, and what it wrote as .json: (where it came from, the document)."""
    names = fill(folder)
    for command in commands:
        result = CliRunner().invoke(lastbit, [*command.format(**names).split(), "--json"])
        if result.exit_code not in (0, 1, 3) or not result.stdout:
            if str(MODELS) in command:  # a damaged file, or a verb that has no answer for it
                continue
            raise SystemExit(f"lastbit {command} ended with {result.exit_code}: {result.stderr}")
        yield command, json.loads(result.stdout)
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "schema" in content:
            yield path.name, content


def given_documents(folder: Path) -> Iterator[dict[str, Any]]:
    """The documents of a layer that is given by multiplier and shift: only Python makes one, and it has no scales."""
    import lastbit as library
    from lastbit.verbs.vectors.formats import write_vectors

    rng = np.random.default_rng(6)
    weights, x = rng.integers(-127, 128, (5, 7)), rng.integers(-128, 128, (4, 7)).astype(np.int8)
    layer = library.dense(weights, input=3, output=-5, multiplier=2**30 + 2 ** np.arange(5), shift=-8)
    y = library.run(layer, x, "tflm").output
    vectors = library.vectors(layer, "tflm", count=4, random=0)
    write_vectors(vectors, str(folder / "given"), ("json",))
    for report in (
        library.inspect(layer),
        library.inspect(layer, 0),
        library.explain(layer, x, at=(0, 3), runtime="tflm"),
        library.diagnose(layer, x, y + np.int8(5)),
        library.thresholds(layer, "tflm"),
        library.identify(layer, x, y),
        library.evaluate(layer, x, runtimes=("tflm",)),
        vectors,
    ):
        yield json.loads(report.json())
    for path in sorted((folder / "given").glob("*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


class Shape:
    """What was seen at one place of the documents of a kind: types, keys, elements."""

    def __init__(self) -> None:
        self.types: set[str] = set()
        self.keys: dict[str, Shape] = {}
        self.always: set[str] | None = None
        self.elements: Shape | None = None

    def see(self, value: Any) -> None:
        """Take in one value."""
        self.types.add(_TYPES[type(value)])
        if isinstance(value, dict):
            self.always = set(value) if self.always is None else self.always & set(value)
            for key, inner in value.items():
                self.keys.setdefault(key, Shape()).see(inner)
        for inner in value if isinstance(value, list) else ():
            self.elements = self.elements or Shape()
            self.elements.see(inner)

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of what was seen. Where keys are names of files, runtimes or tensors, any may stand."""
        types = sorted(self.types - ({"integer"} if "number" in self.types else set()))
        found: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
        if self.elements is not None:
            found["items"] = self.elements.schema()
        if not self.keys:
            return found
        if all(key.isidentifier() and key == key.lower() for key in self.keys):
            found["properties"] = {key: self.keys[key].schema() for key in self.keys}
            found["required"] = sorted(self.always or ())
        else:
            values = Shape()
            for inner in self.keys.values():
                values.merge(inner)
            found["additionalProperties"] = values.schema()
        return found

    def merge(self, other: Shape) -> None:
        """Take in all that another place has seen."""
        self.types |= other.types
        if other.always is not None:
            self.always = set(other.always) if self.always is None else self.always & other.always
        for key, inner in other.keys.items():
            self.keys.setdefault(key, Shape()).merge(inner)
        if other.elements is not None:
            self.elements = self.elements or Shape()
            self.elements.merge(other.elements)


_TYPES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def schemas(folder: Path) -> dict[str, dict[str, Any]]:
    """The JSON Schema of each kind of document, by the document's own `schema`."""
    seen: dict[str, Shape] = {}
    wide = tuple(line.format(model=path) for path in sorted(MODELS.glob("*.tflite")) for line in ON_MODELS)
    for _, document in documents(OFFLINE + LIVE + wide, folder):
        seen.setdefault(document["schema"], Shape()).see(document)
    for document in given_documents(folder):
        seen.setdefault(document["schema"], Shape()).see(document)
    found = {}
    for kind, shape in sorted(seen.items()):
        schema = shape.schema() | {"additionalProperties": False}
        schema["properties"]["schema"] = {"const": kind}
        found[kind] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind, **schema}
    return found


def path_of(kind: str) -> Path:
    """Where a kind's schema stands."""
    return SCHEMAS / f"{kind.replace('/', '-')}.schema.json"


def main() -> int:
    """Write the schemas of all kinds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", required=True, help="write docs/schemas anew")
    parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = schemas(Path(name))
    SCHEMAS.mkdir(exist_ok=True)
    for path in SCHEMAS.glob("*.schema.json"):
        path.unlink()
    for kind, schema in found.items():
        path_of(kind).write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} kinds of documents")
    return 0


if __name__ == "__main__":
    sys.exit(main())
