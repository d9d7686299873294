"""No code reads a rule's name: with every one replaced by a random string, everything but the names stays."""

from __future__ import annotations

import ast
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lastbit.rules.floats.table import FLOAT_CHOICES, FLOAT_RULES
from lastbit.rules.hybrid.table import HYBRID_RULES
from lastbit.rules.requantize.table import CHOICES, CHOICES_AROUND_DENSE, RULES

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lastbit"
NAMES = sorted({*RULES, *CHOICES, *CHOICES_AROUND_DENSE, *HYBRID_RULES, *FLOAT_RULES, *FLOAT_CHOICES})

# What is printed of four models in ten runtimes and two versions; names are put back before it is compared.
SCRIPT = r"""
import hashlib, json, sys
import numpy as np
import lastbit
from lastbit import explain, inspect, run, thresholds
from lastbit.verbs.compare.verb import compare
from lastbit.cli import main
from lastbit.model.errors import LastBitError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant

def models():
    rng = np.random.default_rng(5)
    kinds = [("int8", "int8", "int32", 5), ("int8", "int4", "int32", 1), ("int16", "int8", "int64", 1)]
    kinds += [("uint8", "uint8", "int32", 1), ("float32", "int8", "float32", 5), ("float32", "float32", "float32", 1)]
    for x, w, bias, scales in kinds:
        low, stored = 0 if w == "uint8" else -7, {"uint8": np.uint8, "float32": np.float32}.get(w, np.int8)
        weights_scales = [0.005] if scales == 1 else rng.uniform(0.002, 0.01, scales)
        yield write(dense_subgraph(
            rng.integers(low, 8, (5, 32)).astype(stored),
            input_quant=None if x == "float32" else quant(0.02, 0 if x == "int16" else 3),
            weights_quant=None if w == "float32" else quant(weights_scales, 1 if w == "uint8" else 0),
            output_quant=None if x == "float32" else quant(0.02, 0 if x == "int16" else 5),
            bias=rng.normal(size=5).astype(np.float32) if x == "float32" else rng.integers(-200, 200, 5),
            input_dtype=x, weights_dtype=w, output_dtype=x, bias_dtype=bias))

OLDER = ("litert-reference@1.2", "litert-xnnpack-avx2@2.1.6", "tflm@20240418", "litert-reference@tf2.14")
NAMES = [*lastbit.RUNTIMES, *OLDER]
found = []
for content in models():
    model = load(content)
    found.append(inspect(model).json())
    kind = model.inputs[0].dtype.numpy
    x = np.random.default_rng(1).normal(size=(4, 32)) * 50
    x = x.astype(kind) if kind == np.float32 else np.clip(x, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)
    for name in NAMES:
        try:
            found.append(run(model, x, name).output.tolist())
            found.append(lastbit.build(model, name, engine="numpy")(x).tolist())
            report = explain(model, x, at=(0, 1), runtime=name)
            found += [report.json(), str(report), report.latex()]
            found.append(thresholds(model, name).json())
        except LastBitError as error:
            found.append(f"{type(error).__name__}: {error}")
    pair = compare(model, "litert-reference", "litert-xnnpack", oracles=False)
    found += [pair.json(), pair.exit_code]
open(sys.argv[1], "w").write(json.dumps(found, default=str))
"""


def renamed(text: str, new: dict[str, str]) -> str:
    """Python source in which every string that is a rule's name is another one; f-strings and docstrings stay."""
    tree, lines = ast.parse(text), text.encode().splitlines(keepends=True)
    spots = [
        (node.lineno - 1, node.col_offset, node.end_col_offset, new[node.value])
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in new
    ]
    for line, start, end, name in sorted(spots, reverse=True):
        row = lines[line]
        if row[start:end].startswith((b'"', b"'")):
            quote = row[start : start + 1]
            lines[line] = row[:start] + quote + name.encode() + quote + row[end:]
    return b"".join(lines).decode()


def printed(folder: Path, out: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "0", "COLUMNS": "10000"}
    script = out.with_suffix(".py")
    script.write_text(SCRIPT)
    result = subprocess.run([sys.executable, str(script), str(out)], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    return out.read_text()


def put_back(text: str, new: dict[str, str]) -> str:
    for name, other in new.items():
        text = text.replace(other, name)
    return text


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The package as it is and with other names, and what both print."""
    folder = tmp_path_factory.mktemp("renamed")
    letters = random.Random(7)
    # As long as the names, so that tables keep their widths.
    new = {name: "".join(letters.choices("bcdfghjkmpqrstvwxz", k=len(name))) for name in NAMES}
    shutil.copytree(SOURCE, folder / "lastbit", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder / "lastbit").rglob("*.py"):
        path.write_text(renamed(path.read_text(encoding="utf-8"), new), encoding="utf-8")
    for path in (folder / "lastbit").rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        for name in sorted(NAMES, key=len, reverse=True):
            text = text.replace(json.dumps(name), json.dumps(new[name]))
        path.write_text(text, encoding="utf-8")
    out = tmp_path_factory.mktemp("printed")
    return new, printed(SOURCE.parent, out / "one.json"), printed(folder, out / "two.json")


def test_every_name_was_replaced(pair):
    _, one, two = pair
    assert sum(name in one for name in NAMES) > 20
    left = [name for name in NAMES if f'"{name}"' in two.replace('\\"', '"')]
    assert not left


def test_outputs_json_text_and_verdicts_stay(pair):
    new, one, two = pair
    wanted, found = json.loads(one), json.loads(put_back(two, new))
    assert len(wanted) == len(found) > 300
    for number, (a, b) in enumerate(zip(wanted, found, strict=True)):
        if isinstance(a, str):
            a, b = a.replace("\\_", "_"), b.replace("\\_", "_")  # LaTeX
        assert a == b, number
