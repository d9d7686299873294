"""The first screen of `runtimes`: a line for each runtime."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from ...model.errors import UnsupportedError
from ...report.blocks import Block, Code, Text
from ...report.phrases import folded
from ...runtimes import Runtime, cpus, interpreter_here
from ...runtimes.evidence import evidence_of
from ...runtimes.groups import group_of

__all__ = ["screen_blocks"]

_LINE = "{:10}{:29}{:21}{:>11}{:>7}"
_WIDTH = 78


def screen_blocks(chosen: Sequence[Runtime]) -> list[Block]:
    """Every runtime with its family, its CPU and its evidence; the versions; which one is this CPU's.

    Args:
        chosen: the runtimes.
    """
    kinds = {cpu.name: "/".join(cpu.vectors) or "any" for cpu, _ in cpus()}
    lines = [_LINE.format("family", "runtime", "CPU", "compared", "differ")]
    outputs = mismatches = 0
    before = None
    for runtime in chosen:
        rows = evidence_of(runtime.name)
        compared, differ = sum(row.outputs for row in rows), sum(row.mismatches for row in rows)
        family = group_of(runtime.name)
        shown = "" if family == before else family or ""
        lines.append(_LINE.format(shown, runtime.name, kinds.get(runtime.name, ""), f"{compared:,}", differ))
        outputs, mismatches, before = outputs + compared, mismatches + differ, family
    head = f"{len(chosen)} runtimes compared with the real interpreters: {outputs:,} outputs, {mismatches} differ."
    return folded(
        [
            Text(head, "bad" if mismatches else "good"),
            Code("\n".join(lines)),
            Text(f"Proven with {', '.join(_versions(chosen))}."),
            Text(_here()),
            Text("In full: lastbit runtimes NAME. Every rule: -v. Operators: --operators.", "dim"),
        ]
    )


def _versions(chosen: Sequence[Runtime]) -> list[str]:
    """The distributions with the versions that were compared."""
    return list(dict.fromkeys(runtime.oracle.partition(",")[0] for runtime in chosen if runtime.oracle))


def _here() -> str:
    try:
        return f"On this CPU, Interpreter(model) of LiteRT is {interpreter_here()}."
    except UnsupportedError as error:
        return textwrap.shorten(str(error), 2 * _WIDTH)
