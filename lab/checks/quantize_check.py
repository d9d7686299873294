"""Compare `lastbit quantize` with real converters' results on the models of a folder.

PYTHON -m lab check quantize make FOLDER FIRST LAST [SHARE]    write float models of these seeds
PYTHON -m lab check quantize moves FOLDER [CHAINS]             write the models of lab/cases/quantize_moves.py
PYTHON_OF_THE_CONVERTER lab/checks/quantize_oracle.py FOLDER HOW      quantize them for real
PYTHON -m lab check quantize compare FOLDER/HOW LIKE [ACTIVATIONS]
"""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path

import numpy as np

from lab.cases import quantize_models, quantize_moves
from lab.checks.quantize_canonical import canonical, differing, ranges_of, where_they_part
from lastbit import LastBitError, quantize
from lastbit.verbs.quantize.verb import converter_named

COUNTS = Path(__file__).parents[2] / "tests" / "recorded" / "quantize_counts.json"


def make(folder: Path, first: int, last: int, share: float) -> None:
    """Write the float models of some seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, last):
        content, _ = quantize_models.write_model(seed, share)
        (folder / f"{seed:06}.tflite").write_bytes(content)
    (folder / "000000.tflite").write_bytes(quantize_models.write_ties())
    for number, (_, content) in enumerate(quantize_moves.models(quantize_moves.SHAPES), 1):
        (folder / f"{number:06}.tflite").write_bytes(content)


def moves(folder: Path, chains: int) -> None:
    """Write the models of operators that move values, and so many random chains of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (*quantize_moves.models(), *quantize_moves.chains(0, chains)):
        (folder / f"{name}.tflite").write_bytes(content)


def compare(real: Path, like: str, activations: str) -> dict[str, object]:
    """Quantize each float model as LastBit does, and count what differs from the converter's own result."""
    counts: collections.Counter[str] = collections.Counter()
    examples: list[str] = []
    for path in sorted(real.parent.glob("*.tflite")):
        content = path.read_bytes()
        wanted = real / path.name
        try:
            with np.errstate(all="ignore"):
                made = bytes(quantize(content, ranges=ranges_of(content), like=like, activations=activations).content)
        except LastBitError as error:
            counts["refused by both" if not wanted.exists() else "refused by LastBit only"] += 1
            if wanted.exists():
                examples.append(f"{path.name}: {error}")
            continue
        if not wanted.exists():
            counts["refused by the converter only"] += 1
            examples.append(f"{path.name}: refused by the converter only")
            continue
        ours, theirs = canonical(made), canonical(wanted.read_bytes())
        counts["models"] += 1
        bad = differing(ours, theirs)
        if bad is None:
            counts["models with other operators"] += 1
            examples.append(f"{path.name}: {where_they_part(ours, theirs)}")
            continue
        for what, entries in (("", [where for where, _ in ours]), (" that differ", [a[0] for a, _ in bad])):
            options = sum(where.endswith(" options") for where in entries)
            counts[f"operators{what}"] += options
            counts[f"tensors{what}"] += len(entries) - options
        examples += [f"{path.name}: {a} and {b}" for a, b in bad[:2]]
    return {"counts": dict(counts), "examples": examples[:12], "floats": len(list(real.parent.glob("*.tflite")))}


def save(found: dict[str, object], like: str, activations: str) -> None:
    """Put what was counted into the table of docs/converter.md."""
    counts = collections.Counter(found["counts"])
    everything = json.loads(COUNTS.read_text(encoding="utf-8")) if COUNTS.exists() else {}
    everything[f"{converter_named(like).label}/{activations}"] = {
        "models": counts["models"],
        "tensors": counts["tensors"],
        "differ": counts["tensors that differ"],
        "operators": counts["operators"],
        "operators_differ": counts["operators that differ"],
        "refused": counts["refused by both"],
        "other_operators": counts["models with other operators"],
    }
    COUNTS.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    arguments = [argument for argument in sys.argv[2:] if argument != "--save"]
    if sys.argv[1] == "make":
        make(Path(arguments[0]), int(arguments[1]), int(arguments[2]), float((*arguments[3:], "0.3")[0]))
        return
    if sys.argv[1] == "moves":
        moves(Path(arguments[0]), int((*arguments[1:], "0")[0]))
        return
    like, activations = arguments[1], (*arguments[2:], "int8")[0]
    found = compare(Path(arguments[0]), like, activations)
    if "--save" in sys.argv:
        save(found, like, activations)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
