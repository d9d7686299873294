"""Run the wheels of years past on a small set that separates rules; write the evidence and the golden file.

    python -m lab versions run --folder DIR [--only NAME ...] [--keep] [--rounds N] [--families NAME ...]

Each target (`litert-1.2.0`, `tf-2.14.1`, `tflite-2.14.0`, `tflm-20240129122420`) gets a virtual environment in DIR,
made if it is not there and removed afterwards unless --keep says otherwise: TensorFlow takes a gigabyte a version.
Writes lab/evidence/version_evidence.json, where the entries of targets that were not run stay, and
the golden files tests/recorded/versions*.npz and .json, which hold what they printed for few cases (version_golden.py).

What is found is then stated by hand in src/lastbit/runtimes/versions.py; a test compares the statement with both files.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lab.cases import versions
from lab.cases.dense import PER_TENSOR, Case, make_layer, random_case
from lab.collect.version_facts import EVIDENCE, write_facts
from lab.reach.replay_version import Key, Tally, Target, find_target, open_target, prepare_cases, replay, report
from lab.reach.version_golden import FILES, FOLDER, Golden, decode, golden_cases, recheck, unpack
from lastbit.model.errors import OracleMissingError
from lastbit.model.tflite import write
from lastbit.oracles import Oracle, OracleFailure, on_this_machine

__all__ = ["decode", "golden_cases", "unpack"]

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
            *("absl-py", "flatbuffers", "pyyaml", "bitarray", "setuptools<80"),
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

# A delegate's answers depend on the CPU: they go under the name that is for this one.
LITERT_RUNTIMES = (on_this_machine("litert-xnnpack"), "litert-builtin-x86", "litert-reference")


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
        "variants": evidence_variants(tallies),
    }


def evidence_variants(tallies: Mapping[Key, Tally]) -> list[dict[str, Any]]:
    """What was counted, as the evidence file has it."""
    return [
        {
            **key._asdict(),
            "outputs": tally.outputs,
            "fitting": tally.fitting if tally.outputs else [],
            "closest_rival_differs_at": min((n for n in tally.mismatches.values() if n), default=0),
            "refused": dict(tally.refused),
        }
        for key, tally in sorted(tallies.items())
    ]


def read_evidence(path: Path) -> dict[str, dict[str, Any]]:
    """The evidence file's runs, each with its own list of variants."""
    if not path.exists():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    runs = content["runs"]
    for run in runs.values():
        if "results" in run:
            run["variants"] = [deepcopy(content["results"][number]) for number in run.pop("results")]
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


def main() -> None:
    """Run the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--command", help="run this Python, which may be emulated, and no target: names --runtimes too")
    parser.add_argument("--runtimes", nargs="+", default=None)
    parser.add_argument(
        "--families",
        nargs="+",
        choices=versions.FAMILIES,
        default=["int8", "8bit", "int16", "activations", "reshape", "hybrid", "float"],
    )
    parser.add_argument("--add", action="store_true", help="add to a run's evidence, and keep what it has")
    parser.add_argument("--keep", action="store_true", help="keep the virtual environments")
    parser.add_argument(
        "--recheck", nargs="+", metavar="RULE", help="run nothing: compare new rules with the golden file"
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    every_golden = {name: Golden(golden_cases(name), FOLDER / f"{name}.npz") for name in FILES}
    for golden in every_golden.values():
        golden.keep_old()
    runs = read_evidence(EVIDENCE)
    script = f"python -m lab versions run --seed {options.seed} --rounds {options.rounds}"
    if options.recheck:
        recheck(runs, every_golden["versions"], options.recheck)
        write_evidence(EVIDENCE, runs, script)
        write_facts()
        return
    if options.folder is None and options.command is None:
        parser.error("--folder is missing")
    recorded = [name for name, families in FILES.items() if set(families) <= set(options.families)]
    prepared = list(prepare_cases(versions.cases(options.families, options.seed, options.rounds)))
    for name in [None] if options.command else options.only:
        command = shlex.split(options.command) if name is None else [str(environment(options.folder, name))]
        target = find_target(command)
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
                    # These families may have been run on another CPU than the first ones.
                    added = {"families": options.families, "cpu": oracle.fingerprint.cpu}
                    runs[full]["added"] = [*runs[full].get("added", []), added]
                else:
                    runs[full] = entry
                for golden_name in recorded:
                    every_golden[golden_name].add(full, oracle)
            print(f"== {full}", *report(tallies), sep="\n", flush=True)
        if not options.keep and name is not None:
            shutil.rmtree(options.folder / name)
        write_evidence(EVIDENCE, runs, script)
        write_facts()
        for golden_name in recorded:
            every_golden[golden_name].write("lab/reach/time_machine.py")


if __name__ == "__main__":
    main()
