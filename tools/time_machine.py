"""Run the wheels of years past on a small set that separates rules; write the evidence and the golden file.

    python tools/time_machine.py --folder DIR [--only NAME ...] [--keep] [--rounds N] [--families NAME ...]

Each target (`litert-1.2.0`, `tf-2.14.1`, `tflite-2.14.0`, `tflm-20240129122420`) gets a virtual environment in DIR,
made if it is not there and removed afterwards unless --keep says otherwise: TensorFlow takes a gigabyte a version.
Writes src/lastbit/runtimes/version_evidence.json, where the entries of targets that were not run stay, and
tests/golden/versions.npz and .json, which hold what they printed for few cases.

What is found is then stated by hand in src/lastbit/runtimes/versions.py; a test holds the statement against both files.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import venv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import version_cases
from dense_families import PER_TENSOR, Case, make_layer, random_case
from lastbit.errors import OracleMissingError
from lastbit.oracles import Oracle, OracleFailure
from lastbit.runtimes import Rule
from lastbit.runtimes.versions import CHANGES
from lastbit.tflite import write
from replay_version import Key, Prepared, Tally, Target, find_target, open_target, prepare_cases, replay, report

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "src" / "lastbit" / "runtimes" / "version_evidence.json"
GOLDEN = ROOT / "tests" / "golden"

# 1.1.0 runs nothing: its Python module fails.
_LITERT = "1.0.0 1.0.1 1.1.1 1.1.2 1.2.0 1.3.0 1.4.0 2.0.2 2.0.3 2.1.0 2.1.1 2.1.2 2.1.3 2.1.4 2.1.5 2.1.6 2.2.0 2.3.0"
# Two years, one of each minor version. They find what else they need in this Python.
_ONNXRUNTIME = "1.20.1 1.21.1 1.22.1 1.23.2 1.24.4 1.25.1 1.26.0 1.27.0 1.28.0 1.29.0 1.30.0 1.31.1 1.32.0"
_TENSORFLOW = "2.12.1 2.13.1 2.14.1 2.15.1 2.16.2 2.17.1 2.18.1 2.19.1 2.20.0 2.21.0"
# Those of 2026-08-11 and 2026-09-01 do not load on Python 3.11.
_TFLM = (
    "20231010131554 20240129122420 20240418150435 20240716175218 20241025232721 20250205013316 20250604163413 "
    "20250825155330 20251031215621 20260203175027 20261002230103 20261006214927 20261009205824 20261013214400 "
    "20261016174617 20261021054047 20261023044614 20261023182759"
)

# Name -> what is installed.
TARGETS: dict[str, tuple[str, ...]] = {
    # Wheels from before NumPy 2 do not say that they need an older one.
    **{f"litert-{v}": (f"ai-edge-litert=={v}", "numpy<2" if v < "1.3" else "numpy") for v in _LITERT.split()},
    **{f"tf-{v}": (f"tensorflow-cpu=={v}",) for v in _TENSORFLOW.split()},
    "tflite-2.14.0": ("tflite-runtime==2.14.0", "numpy<2"),
    **{
        f"tflm-{v}": (
            "--no-deps",
            f"tflite-micro==0.dev{v}",
            "numpy<2" if v < "202409" else "numpy",
            *("flatbuffers", "pyyaml", "bitarray", "setuptools<80"),
        )
        for v in _TFLM.split()
    },
    **{f"onnxruntime-{v}": ("--no-deps", f"onnxruntime=={v}") for v in _ONNXRUNTIME.split()},
}

# What old wheels of tflite-micro import TensorFlow for: opening files and hiding names. They get this in its place, and
# load in a tenth of a second and not in ten, which each model that they crash on costs.
_STAND_INS = {
    "platform/gfile.py": "GFile = Open = open\n",
    "util/all_util.py": "def remove_undocumented(*_): pass\n",
}

LITERT_RUNTIMES = ("litert-xnnpack", "litert-builtin-x86", "litert-reference")
# Bytes of a model, and of its inputs, in the golden file.
LARGEST_GOLDEN_MODEL, LARGEST_GOLDEN_INPUTS = 2600, 1200
GOLDEN_SEED, GOLDEN_PROBES = 31, 64


def versioned_name(runtime: str, target: Target) -> str:
    """How LastBit calls a runtime of this version: `litert-reference@tf2.14.1`."""
    prefix = {"tflite-runtime": "tflite", "tensorflow-cpu": "tf", "tensorflow": "tf"}.get(target.distribution, "")
    return f"{runtime}@{prefix}{target.version.removeprefix('0.dev')}"


def environment(folder: Path, name: str) -> Path:
    """The Python of a target's virtual environment, made where it is not there."""
    home = folder / name
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=False)
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *TARGETS[name]]
        subprocess.run(command, check=True)
        site = next(home.glob("lib/python*/site-packages"))
        if name.startswith("onnxruntime"):
            (site / "rest.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path) + "\n")
        if name.startswith("tflm"):
            for path, text in _STAND_INS.items():
                target = site / "tensorflow" / "python" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
    return python


def operator_versions() -> Iterator[tuple[int, Case]]:
    """One small int8 layer, under every version number of FULLY_CONNECTED there may be."""
    rng = np.random.default_rng(1)
    graph = make_layer(rng, "plain", PER_TENSOR, units=5, depth=8, bias=rng.integers(-9, 9, 5))
    for version in range(4, 15):
        op = replace(graph.operators[0], version=version)
        yield version, random_case("operator version", replace(graph, operators=(op,)), rng, 1)


def largest_operator_version(oracle: Oracle) -> int:
    """The largest version number of FULLY_CONNECTED that an interpreter takes."""
    largest = 0
    for version, case in operator_versions():
        try:
            oracle.run(write(case.graph), [[x] for x in case.samples])
        except OracleFailure:
            continue
        largest = version
    return largest


def evidence_entry(oracle: Oracle, tallies: Mapping[Key, Tally]) -> dict[str, Any]:
    """One version in one mode, as the evidence file has it."""
    return {
        "fingerprint": oracle.fingerprint.as_dict(),
        "largest_operator_version": largest_operator_version(oracle),
        "variants": [
            {
                **key._asdict(),
                "outputs": tally.outputs,
                "fitting": tally.fitting if tally.outputs else [],
                "closest_rival_differs_at": min((n for n in tally.mismatches.values() if n), default=0),
                "refused": dict(tally.refused),
            }
            for key, tally in sorted(tallies.items())
        ],
    }


def recheck(runs: Mapping[str, dict[str, Any]], golden: Golden, rules: Sequence[str]) -> None:
    """Hold rules that were not known when versions ran against what these printed for the golden file.

    A variant gets a `recorded` entry: outputs compared, and those rules that a change states and that reproduce all.
    """
    cases = golden_cases(evaluate=True)
    for name, run in runs.items():
        changes = [change.rules.values() for change in CHANGES if change.runtime == name.partition("@")[0]]
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


def golden_cases(evaluate: bool = False) -> list[Prepared]:
    """The small set whose outputs are committed."""
    chosen = version_cases.cases(["int8", "8bit"], GOLDEN_SEED, 1, GOLDEN_PROBES)
    return list(
        prepare_cases(
            (
                entry
                for entry in chosen
                if len(write(entry.case.graph)) <= LARGEST_GOLDEN_MODEL
                and sum(x.nbytes for x in entry.case.samples) <= LARGEST_GOLDEN_INPUTS
            ),
            evaluate=evaluate,
        )
    )


def read_evidence(path: Path) -> dict[str, dict[str, Any]]:
    """The evidence file's runs, each with its own list of variants."""
    if not path.exists():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    runs = content["runs"]
    for run in runs.values():
        if "results" in run:
            run["variants"] = [content["results"][number] for number in run.pop("results")]
    return dict(runs)


def write_evidence(path: Path, runs: Mapping[str, dict[str, Any]], script: str) -> None:
    """Write the runs; results that several share stand there once, a line each, and runs refer to them by number."""
    results: dict[str, int] = {}
    lines = []
    for name, run in sorted(runs.items()):
        numbers = [results.setdefault(json.dumps(entry), len(results)) for entry in run["variants"]]
        rest = {key: value for key, value in run.items() if key != "variants"}
        lines.append(f"{json.dumps(name)}: {json.dumps({**rest, 'results': numbers})}")
    head = {"schema": "lastbit.version_evidence/2", "date": datetime.now(UTC).strftime("%Y-%m-%d"), "script": script}
    text = json.dumps(head)[:-1] + ',\n"results": [\n' + ",\n".join(results) + '\n],\n"runs": {\n'
    path.write_text(text + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


def add_variants(known: list[dict[str, Any]], more: Sequence[dict[str, Any]]) -> None:
    """Add what other families found to a run's variants: a rule fits if it fits both."""
    keys = ("operator", "variant", "output_rank_above_2", "delegated")
    by_key = {tuple(entry[key] for key in keys): entry for entry in known}
    for entry in more:
        old = by_key.get(tuple(entry[key] for key in keys))
        if old is None:
            known.append(entry)
            continue
        if old["outputs"] and entry["outputs"]:
            old["fitting"] = [name for name in old["fitting"] if name in entry["fitting"]]
        elif entry["outputs"]:
            old["fitting"] = entry["fitting"]
        rivals = [e["closest_rival_differs_at"] for e in (old, entry) if e["closest_rival_differs_at"]]
        old["closest_rival_differs_at"] = min(rivals, default=0)
        old["outputs"] += entry["outputs"]
        for words, count in entry["refused"].items():
            old["refused"][words] = old["refused"].get(words, 0) + count
    known.sort(key=lambda entry: tuple(entry[key] for key in keys))


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


def main() -> None:
    """Run the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--runtimes", nargs="+", default=None)
    parser.add_argument(
        "--families",
        nargs="+",
        choices=version_cases.FAMILIES,
        default=["int8", "8bit", "int16", "activations", "reshape"],
    )
    parser.add_argument("--add", action="store_true", help="add to a run's evidence; leave the golden file as it is")
    parser.add_argument("--keep", action="store_true", help="keep the virtual environments")
    parser.add_argument(
        "--recheck", nargs="+", metavar="RULE", help="run nothing: hold new rules against the golden file"
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    golden = Golden(golden_cases(), GOLDEN / "versions.npz")
    golden.keep_old()
    runs = read_evidence(EVIDENCE)
    script = f"tools/time_machine.py --seed {options.seed} --rounds {options.rounds}"
    if options.recheck:
        recheck(runs, golden, options.recheck)
        write_evidence(EVIDENCE, runs, script)
        return
    if options.folder is None:
        parser.error("--folder is missing")
    prepared = list(prepare_cases(version_cases.cases(options.families, options.seed, options.rounds)))
    for name in options.only:
        target = find_target([str(environment(options.folder, name))])
        runtimes = {"tflite-micro": ("tflm",), "onnxruntime": ("onnxruntime",)}.get(
            target.distribution, LITERT_RUNTIMES
        )
        for runtime in options.runtimes or runtimes:
            full = versioned_name(runtime, target)
            with open_target(target, runtime) as oracle:
                try:
                    tallies, _ = replay(oracle, prepared)
                except OracleMissingError as error:
                    print(f"{full}: {error}")
                    continue
                entry = evidence_entry(oracle, tallies)
                if options.add:
                    add_variants(runs[full]["variants"], entry["variants"])
                    continue
                runs[full] = entry
                golden.add(full, oracle)
            print(f"== {full}", *report(tallies), sep="\n", flush=True)
        if not options.keep:
            shutil.rmtree(options.folder / name)
        write_evidence(EVIDENCE, runs, script)
        if not options.add:
            golden.write("tools/time_machine.py")


if __name__ == "__main__":
    main()
