"""What was compared with the real interpreters: for each runtime, operator and variant one row of counts.

The file is condensed from all that was recorded (lab/evidence, one file for each runtime; `lab/evidence_files.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["Evidence", "Run", "evidence_of", "outputs_by_run"]


@dataclass(frozen=True)
class Run:
    """Where and when an interpreter ran.

    Attributes:
        oracle: its package, such as `ai-edge-litert`.
        version: of the package.
        mode: how it was asked, such as `default delegates (XNNPACK)`.
        cpu: the CPU with the vector instructions that matter, and the emulator where one stood in its place.
        platform: the system and Python.
        date: YYYY-MM-DD.
        how: the command that compared it.
        build: how a library was built that is not a package's, else empty.
    """

    oracle: str
    version: str
    mode: str
    cpu: str
    platform: str
    date: str
    how: str
    build: str = ""

    def as_dict(self) -> dict[str, str]:
        """As plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Evidence:
    """One variant of an operator in one runtime.

    Attributes:
        operator: built-in operator name.
        variant: as it is printed.
        runs: where it was run.
        outputs: outputs compared.
        mismatches: those that differed.
        refused_by_both: layers that the interpreter refuses, and LastBit too.
        outputs_of_declined_layers: outputs of layers that the delegate leaves to its fallback.
        interpreters_words: how the interpreter refuses, else empty.
        rivals_refuted_at: rule -> the outputs that it gets wrong.
    """

    operator: str
    variant: str
    runs: tuple[Run, ...]
    outputs: int
    mismatches: int
    refused_by_both: int
    outputs_of_declined_layers: int
    interpreters_words: str
    rivals_refuted_at: Mapping[str, int]

    def as_dict(self, runs: Sequence[Run]) -> dict[str, Any]:
        """As plain data, its runs as positions in `runs`."""
        return {
            **{name: value for name, value in vars(self).items() if name != "rivals_refuted_at"},
            "runs": [runs.index(run) for run in self.runs],
            "rivals_refuted_at": dict(self.rivals_refuted_at),
        }


def evidence_of(runtime: str) -> tuple[Evidence, ...]:
    """The rows of a runtime in the order of operators and variants; none where nothing was recorded."""
    return _all().get(runtime, ())


def outputs_by_run(rows: Sequence[Evidence]) -> dict[Run, list[str]]:
    """Each run of these rows, and the dense variants of which outputs were compared in it."""
    found: dict[Run, list[str]] = {}
    for row in rows:
        for run in row.runs:
            names = found.setdefault(run, [])
            if row.operator == "FULLY_CONNECTED" and row.outputs:
                names.append(row.variant)
    return found


@cache
def _all() -> dict[str, tuple[Evidence, ...]]:
    text = (resources.files("lastbit") / "runtimes" / "facts" / "evidence.json").read_text(encoding="utf-8")
    content = json.loads(text)
    runs = [Run(*(content["texts"][number] for number in run)) for run in content["runs"]]
    variants, rivals, words = content["variants"], content["rivals"], content["words"]
    rival_sets = [[rivals[number] for number in numbers] for numbers in content["rival_sets"]]

    def evidence(ran: Sequence[int], row: Sequence[Any]) -> Evidence:
        variant, said, rivals_of_it, outputs, others, *refuted_at = row
        named = dict(zip(rival_sets[rivals_of_it], refuted_at, strict=True))
        mismatches, refused, declined = content["others"][others]
        places = tuple(runs[number] for number in ran)
        operator, name = variants[variant]
        return Evidence(operator, name, places, outputs, mismatches, refused, declined, words[said], named)

    def in_order(groups: Sequence[Any]) -> tuple[Evidence, ...]:
        """A runtime's rows, as the file lists their variants."""
        rows = [(content["rows"][number], ran) for ran, numbers in groups for number in numbers]
        return tuple(evidence(ran, row) for row, ran in sorted(rows, key=lambda pair: pair[0][0]))

    return {name: in_order(groups) for name, groups in content["runtimes"].items()}
