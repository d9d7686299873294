"""A program: what LastBit prints of ten models on every runtime, and of all golden dense layers, as one JSON file.

    python everything_printed.py OUT NAMES

NAMES is a JSON file: the name that a runtime has elsewhere -> its name here.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np

import lastbit
from lastbit import explain, inspect, run, thresholds
from lastbit.cli import main
from lastbit.layers.differences import same_bits
from lastbit.model import errors
from lastbit.model.errors import LastBitError, UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.prepare import prepare_operator
from lastbit.report.blocks import Table
from lastbit.runtimes.evidence import evidence_of
from lastbit.verbs.compare.verb import compare

GOLDEN = Path(__file__).parents[1] / "recorded"
SETS = ("dense", "dense_8bit", "dense_int16", "dense_hybrid", "dense_float")
OLDER = ("litert-reference@1.2", "litert-xnnpack-avx2@2.1.6", "tflm@20240418", "litert-reference@tf2.14")


def models():
    """Ten models of the types that there are, per-tensor and per-channel, three of them the package's own examples."""
    rng = np.random.default_rng(5)
    kinds = [("int8", "int8", "int32", 5), ("int8", "int4", "int32", 1), ("int16", "int8", "int64", 1)]
    kinds += [("uint8", "uint8", "int32", 1), ("float32", "int8", "float32", 5), ("float32", "float32", "float32", 1)]
    for x, w, bias, scales in [*kinds, ("float32", "int4", "float32", 5)]:
        low, stored = 0 if w == "uint8" else -7, {"uint8": np.uint8, "float32": np.float32}.get(w, np.int8)
        weights_scales = [0.005] if scales == 1 else rng.uniform(0.002, 0.01, scales)
        yield write(
            dense_subgraph(
                rng.integers(low, 8, (5, 32)).astype(stored),
                input_quant=None if x == "float32" else quant(0.02, 0 if x == "int16" else 3),
                weights_quant=None if w == "float32" else quant(weights_scales, 1 if w == "uint8" else 0),
                output_quant=None if x == "float32" else quant(0.02, 0 if x == "int16" else 5),
                bias=rng.normal(size=5).astype(np.float32) if x == "float32" else rng.integers(-200, 200, 5),
                input_dtype=x,
                weights_dtype=w,
                output_dtype=x,
                bias_dtype=bias,
            )
        )
    data = Path(lastbit.__file__).parent / "data"
    for name in ("question.int8", "forum_dense_per_tensor", "forum_dense_per_channel"):
        yield (data / f"{name}.tflite").read_bytes()


def input_of(model):
    """Values over the input's type, or normal ones."""
    tensor, rng = model.inputs[0], np.random.default_rng(1)
    shape, kind = (4, *tensor.shape[1:]), tensor.dtype.numpy
    x = rng.normal(size=shape) * 50
    return x.astype(kind) if kind == np.float32 else np.clip(x, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)


def told(report):
    """What a person reads, before it is laid out: that reads no name, and takes most of the time."""
    parts = []
    for block in report.blocks():
        if isinstance(block, Table):
            cells = (cell for row in block.rows for cell in row)
            parts += [block.title, *block.headers, *cells, sorted(block.marked)]
        else:
            parts += [block.text, getattr(block, "style", "")]
    return "\n".join(map(str, parts))


def of_model(content, names):
    """What the verbs say of one model."""
    model = load(content)
    yield inspect(model).json()
    x = input_of(model)
    for name in names:
        try:
            yield run(model, x, name).output.tolist()
            yield lastbit.build(model, name, engine="numpy")(x).tolist()
            report = explain(model, x, at=(0, 1), runtime=name)
            yield from (report.json(), told(report), report.latex())
            yield thresholds(model, name).json()
        except LastBitError as error:
            yield f"{type(error).__name__}: {error} {error.exit_code}"
    for name in names[1:4]:
        pair = compare(model, names[0], name, oracles=False)
        yield from (pair.json(), told(pair), pair.exit_code)


def of_command_line(folder, names):
    """Exit codes and what is printed: right and wrong commands, except tables that are sorted by name."""
    content = next(iter(models()))
    path = folder / "model.tflite"
    path.write_bytes(content)
    np.save(folder / "x.npy", input_of(load(content)))
    for words in (
        ["inspect", path, "--json"],
        ["runtimes"],
        ["runtimes", "--json"],
        *(["runtimes", name] for name in names[::4]),
        *(["run", path, "-i", folder / "x.npy", "--json", "--runtime", name] for name in names[:6]),
        ["run", path, "-i", folder / "x.npy", "--runtime", "no-such-runtime"],
        ["thresholds", path, "--json"],
    ):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                code = main([str(word) for word in words])
            except SystemExit as error:
                code = error.code
        yield [words[0], code, said.getvalue().replace(str(folder), "")]


def of_golden(name, new):
    """Of each golden layer and runtime: whether the outputs are the recorded ones, or why it is refused."""
    listing = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(GOLDEN / f"{name}.npz") as file:
        blobs = dict(file)
    at = dict.fromkeys(blobs, 0)
    for case in listing["cases"]:
        arrays = {}
        for key, (dtype, shape) in case["arrays"].items():
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            arrays[key] = blobs[key][at[key] : at[key] + size].view(dtype).reshape(shape)
            at[key] += size
        model = load(arrays["model"].tobytes())
        for runtime in listing["fingerprints"]:
            try:
                prepared = prepare_operator(model, model.operators[0], new.get(runtime, runtime))
            except UnsupportedError as error:
                yield [runtime in case["refused"], error.kind.value, error.reasons]
                continue
            found = [prepared.evaluate([x])["output"] for x in arrays["x"]]
            equal = all(same_bits(a, b).all() for a, b in zip(found, arrays[runtime], strict=True))
            yield [equal, prepared.rule, prepared.kernel, prepared.notes]


def everything(out, new):
    """All of it."""
    names = [new.get(name, name) for name in ("litert-reference", "litert-xnnpack", "tflm", "litert-builtin-x86")]
    older = [f"{new.get(base, base)}@{version}" for base, version in (name.split("@") for name in OLDER)]
    names = [*dict.fromkeys([*names, *lastbit.RUNTIMES]), *older]
    found = [list(of_model(content, names)) for content in models()]
    found.append(list(of_command_line(out.parent, names[:-4])))
    found += [list(of_golden(name, new)) for name in SETS]
    found.append([[row.variant, row.outputs, row.mismatches] for name in lastbit.RUNTIMES for row in evidence_of(name)])
    scrambled = getattr(errors, "SCRAMBLED", {})
    out.write_text(json.dumps({"found": found, "scrambled": list(scrambled.items())}, default=str), encoding="utf-8")


if __name__ == "__main__":
    everything(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
