"""Compare `lastbit quantize` with real converters by other methods than int8 with ranges, on the models of a folder.

python -m lab check methods make FOLDER FIRST LAST        write float models of these seeds, with ranges
python -m lab check methods take FOLDER SOURCE            take float models, and give each tensor a random range
PYTHON_OF_AI_EDGE lab/checks/ai_edge_oracle.py FOLDER METHOD    quantize them for real
python -m lab check methods compare LIKE METHOD FOLDER... [--save]

METHOD is dynamic or float16 (lab/checks/dynamic_range_oracle.py makes models and files at once), or a recipe of
lab/checks/ai_edge_oracle.py. `--save` puts what was counted into the table of docs/converter.md.
"""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lab.cases import quantize_models
from lab.cases.quantize_maker import Maker
from lab.checks.quantize_canonical import canonical, differing, ranges_of, where_they_part
from lab.checks.quantize_check import COUNTS
from lastbit import LastBitError, load, quantize
from lastbit.verbs.quantize.converters import converter_named

# The oracles' names for methods -> whether ranges are given, and what else to ask LastBit for.
METHODS: dict[str, tuple[bool, dict[str, Any]]] = {
    "dynamic": (False, {}),
    "float16": (False, {"weights": "float16"}),
    "static_8_8": (True, {}),
    "static_8_8_float": (True, {"io": "float32"}),
    "static_8_16": (True, {"activations": "int16"}),
    "static_4_8": (True, {"weights": "int4"}),
    "static_4_16": (True, {"weights": "int4", "activations": "int16"}),
    "dynamic_8": (False, {}),
    "dynamic_4": (False, {"weights": "int4"}),
    "weights_8": (False, {"weight_only": True}),
    "weights_4": (False, {"weight_only": True, "weights": "int4"}),
}


def make(folder: Path, first: int, last: int) -> None:
    """Write the float models of some seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, last):
        content, _ = quantize_models.write_model(seed, 0.3, complete=True)
        (folder / f"{seed:06}.tflite").write_bytes(content)


def take(folder: Path, source: Path) -> None:
    """Give other float models random ranges."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(sorted(source.glob("*.tflite"))):
        model = load(path)
        maker = Maker(number)
        computed = {i for op in model.operators for i in op.outputs} | set(model.subgraphs[0].inputs)
        floats = [t.index for t in model.tensors if t.index in computed and t.dtype.name == "float32"]
        ranges = {index: maker.range() for index in floats}
        (folder / path.name).write_bytes(quantize_models.with_ranges(path.read_bytes(), ranges))


def compare(like: str, method: str, folder: Path) -> tuple[collections.Counter[str], list[str]]:
    """Count what differs from a converter's own files."""
    counts: collections.Counter[str] = collections.Counter()
    examples: list[str] = []
    ranged, arguments = METHODS[method]
    for path in sorted(folder.glob("*.tflite")):
        content, real = path.read_bytes(), folder / method / path.name
        if not real.exists() and not real.with_suffix(".error").exists():
            continue
        limits = {"ranges": ranges_of(content)} if ranged else {}
        try:
            with np.errstate(all="ignore"):
                made = bytes(quantize(content, like=like, **arguments, **limits).content)
        except LastBitError as error:
            counts["refused by LastBit only" if real.exists() else "refused by both"] += 1
            examples += [f"{path.name}: {error}"] * real.exists()
            continue
        if not real.exists():
            counts["refused by the converter only"] += 1
            examples.append(f"{path.name}: {real.with_suffix('.error').read_text()[:200]}")
            continue
        ours, theirs = canonical(made), canonical(real.read_bytes())
        counts["models"] += 1
        bad = differing(ours, theirs)
        if bad is None:
            counts["models with other operators"] += 1
            examples.append(f"{path.name}: {where_they_part(ours, theirs)}")
            continue
        # Options of operators are compared, and not counted as tensors.
        counts["tensors"] += sum(not where.endswith(" options") for where, _ in ours)
        counts["tensors or options that differ"] += len(bad)
        examples += [f"{path.name}: {a} and {b}" for a, b in bad[:2]]
    return counts, examples


def main() -> None:
    """The command line."""
    words = [word for word in sys.argv[1:] if word != "--save"]
    if words[0] == "make":
        make(Path(words[1]), int(words[2]), int(words[3]))
        return
    if words[0] == "take":
        take(Path(words[1]), Path(words[2]))
        return
    counts: collections.Counter[str] = collections.Counter()
    for folder in words[3:]:
        found, examples = compare(words[1], words[2], Path(folder))
        counts += found
        print(*examples[:8], sep="\n")
    print(words[1], words[2], json.dumps(counts))
    if "--save" in sys.argv:
        everything = json.loads(COUNTS.read_text(encoding="utf-8"))
        everything[f"{converter_named(words[1]).label}/{words[2]}"] = {
            "models": counts["models"],
            "tensors": counts["tensors"],
            "differ": counts["tensors or options that differ"],
            "refused": counts["refused by both"],
            "other_operators": counts["models with other operators"],
        }
        COUNTS.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
