"""The golden files of versions: what each printed for few small cases, and rules compared with it.

`versions` has layers with 8-bit activations; `versions_float` hybrid and float32 ones, of fewer versions.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lab.cases import versions
from lab.cases.dense import Case
from lab.reach.replay_version import Key, Prepared, Tally, prepare_cases, replay
from lastbit.model.tflite import load, write
from lastbit.oracles import Oracle, OracleFailure
from lastbit.runtimes import Rule
from lastbit.runtimes.versions import CHANGES

FOLDER = Path(__file__).parents[2] / "tests" / "recorded"

# Golden file -> the families it is of.
FILES = {"versions": ("int8", "8bit"), "versions_float": ("hybrid", "float")}

# Bytes of a model, and of its inputs, in each golden file.
LARGEST = {"versions": (2600, 1200), "versions_float": (1700, 700)}
GOLDEN_SEED, GOLDEN_PROBES = 31, 64


def recheck(runs: Mapping[str, dict[str, Any]], golden: Golden, rules: Sequence[str]) -> None:
    """Compare rules that were not known when versions ran with what these printed for the golden file.

    A variant gets a `recorded` entry: outputs compared, and those rules that a change states and that reproduce all.
    """
    cases = golden_cases(evaluate=True)
    for name, run in runs.items():
        changes = [change.rules.values() for change in CHANGES if name.partition("@")[0] in change.runtimes]
        stated = {rule.name for stated in changes for rule in stated if isinstance(rule, Rule)}
        tallies: dict[Key, Tally] = defaultdict(Tally)
        for number, (case, entry) in enumerate(zip(cases, golden.printed[name], strict=True)):
            if not isinstance(entry, str):
                outputs = golden.arrays[f"{number}/{entry if entry >= 0 else -1 - entry}"]
                tallies[case.key(entry < 0)].compare(case, list(outputs))
        for variant in run["variants"]:
            tally = tallies.get(Key(*(variant[field] for field in Key._fields)))
            fitting = [] if tally is None else [rule for rule in tally.fitting if rule in rules and rule in stated]
            variant.pop("recorded", None)
            if tally is not None and set(fitting) - set(variant["fitting"]):
                variant["recorded"] = {"outputs": tally.outputs, "fitting": fitting}


def golden_cases(name: str = "versions", evaluate: bool = False) -> list[Prepared]:
    """The small set whose outputs are committed in one golden file."""
    chosen = versions.cases(FILES[name], GOLDEN_SEED, 1, GOLDEN_PROBES)
    largest_model, largest_inputs = LARGEST[name]
    return list(
        prepare_cases(
            (
                entry
                for entry in chosen
                if len(write(entry.case.graph)) <= largest_model
                and sum(x.nbytes for x in entry.case.samples) <= largest_inputs
            ),
            evaluate=evaluate,
        )
    )


def stored_cases(path: Path) -> list[Prepared]:
    """The cases that a golden file has, for one more interpreter: what makes them may have changed since."""
    listing = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    arrays, cases = unpack(path), []
    for number, entry in enumerate(listing["cases"]):
        content = arrays[f"{number}/model"].tobytes()
        graph = load(content).subgraphs[0]
        case = Case(entry["family"], graph, tuple(arrays[f"{number}/x"]))
        cases.append(Prepared(case, content, graph.operators[0], entry["variant"], {}))
    return cases


class Golden:
    """The golden file: models and inputs once, each distinct output once, and which version printed which."""

    def __init__(self, cases: Sequence[Prepared], path: Path) -> None:
        self.cases = list(cases)
        self.path = path
        self.outputs: list[dict[bytes, int]] = [{} for _ in self.cases]
        self.arrays: dict[str, np.ndarray] = {}
        self.printed: dict[str, list[int | str]] = {}
        self.fingerprints: dict[str, dict[str, str]] = {}
        for number, entry in enumerate(self.cases):
            self.arrays[f"{number}/model"] = np.frombuffer(entry.content, np.uint8)
            self.arrays[f"{number}/x"] = np.stack(entry.case.samples)

    def keep_old(self) -> None:
        """Take over what the file says of versions that are not run now, if it is of the same cases."""
        if not self.path.exists():
            return
        listing = json.loads(self.path.with_suffix(".json").read_text(encoding="utf-8"))
        old = unpack(self.path)
        same = listing["cases"] == self._listing() and all(
            np.array_equal(old.get(f"{n}/model"), self.arrays[f"{n}/model"]) for n in range(len(self.cases))
        )
        if not same:
            return
        self.printed = {name: decode(codes, listing["refusals"]) for name, codes in listing["printed"].items()}
        self.fingerprints = listing["fingerprints"]
        for number, known in enumerate(self.outputs):
            while (key := f"{number}/{len(known)}") in old:
                self.arrays[key] = old[key]
                known[old[key].tobytes()] = len(known)

    def add(self, name: str, oracle: Oracle) -> None:
        """Run all cases."""
        _, runs = replay(oracle, self.cases)
        printed: list[int | str] = []
        for number, run in enumerate(runs):
            if isinstance(run, OracleFailure):
                printed.append(f"{run.kind}: {' '.join(run.reason.split())[:70]}")
                continue
            outputs = np.stack([observed for (observed,) in run.outputs])
            known = self.outputs[number]
            index = known.setdefault(outputs.tobytes(), len(known))
            self.arrays.setdefault(f"{number}/{index}", outputs)
            printed.append(index if not run.delegated else -1 - index)
        self.printed[name] = printed
        self.fingerprints[name] = oracle.fingerprint.as_dict()

    def _listing(self) -> list[dict[str, str]]:
        return [{"variant": c.variant, "family": c.case.family} for c in self.cases]

    def write(self, made_by: str) -> None:
        """Write both files. A version's entry is the output's number, -1 - number where a delegate took the layer."""
        index, parts, start = {}, [], 0
        for key, array in self.arrays.items():
            index[key] = [array.dtype.str, list(array.shape), start]
            parts.append(array.tobytes())
            start += len(parts[-1])
        np.savez_compressed(
            self.path, bytes=np.frombuffer(b"".join(parts), np.uint8), index=np.asarray(json.dumps(index))
        )
        refusals = sorted({entry for printed in self.printed.values() for entry in printed if isinstance(entry, str)})
        content = {
            "made_by": made_by,
            "cases": self._listing(),
            "refusals": refusals,
            "printed": {name: encode(printed, refusals) for name, printed in sorted(self.printed.items())},
            "fingerprints": dict(sorted(self.fingerprints.items())),
        }
        text = json.dumps(content).replace('"printed"', '\n"printed"').replace('], "', '],\n"').replace('}, "', '},\n"')
        self.path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def encode(printed: Sequence[int | str], refusals: Sequence[str]) -> str:
    """One version's entries as text: the output's number, `d` before it where a delegate ran; `r` and a refusal's."""
    words = []
    for entry in printed:
        if isinstance(entry, str):
            words.append(f"r{refusals.index(entry)}")
        else:
            words.append(str(entry) if entry >= 0 else f"d{-1 - entry}")
    return " ".join(words)


def decode(codes: str, refusals: Sequence[str]) -> list[int | str]:
    """What `encode` wrote."""
    entries: list[int | str] = []
    for word in codes.split():
        if word[0] == "r":
            entries.append(refusals[int(word[1:])])
        else:
            entries.append(-1 - int(word[1:]) if word[0] == "d" else int(word))
    return entries


def unpack(path: Path) -> dict[str, np.ndarray]:
    """The golden file's arrays: `<case>/model`, `<case>/x`, `<case>/<number of an output>`."""
    with np.load(path) as file:
        content, index = file["bytes"].tobytes(), json.loads(str(file["index"]))
    arrays = {}
    for key, (dtype, shape, start) in index.items():
        count = int(np.prod(shape, dtype=np.int64))
        arrays[key] = np.frombuffer(content, np.dtype(dtype), count, start).reshape(shape)
    return arrays
