"""docs/runtimes: one page for each family of runtimes: formulas, a worked element, older versions, evidence.

`python -m lab pages update` writes them anew.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

import lastbit
from lastbit.ops import OPERATORS
from lastbit.report.blocks import Heading, print_blocks
from lastbit.rules.base import IntegerRule
from lastbit.rules.requantize.table import RULES
from lastbit.rules.requantize.words import lines
from lastbit.runtimes import RUNTIMES, Refused, Rule
from lastbit.runtimes.change import Change
from lastbit.runtimes.evidence import evidence_of, outputs_by_run
from lastbit.runtimes.versions import CHANGES, versions_run


@dataclass(frozen=True)
class Family:
    """A page.

    Attributes:
        page: its file's name.
        title: its heading.
        about: what a reader should know first.
        runtimes: those it is about; the first one works the element.
    """

    page: str
    title: str
    about: str
    runtimes: tuple[str, ...]


def _begin(prefix: str) -> tuple[str, ...]:
    return tuple(name for name in RUNTIMES if name == prefix or name.startswith(f"{prefix}-"))


FAMILIES = (
    Family(
        "litert-xnnpack",
        "LiteRT and TensorFlow Lite, default: the XNNPACK delegate",
        "What `Interpreter(model)` computes. Dense layers are multiplied by a float32 scale and rounded once, to the "
        "nearest even integer. What the delegate declines follows [LiteRT's own kernels](litert-builtin.md).",
        _begin("litert-xnnpack"),
    ),
    Family(
        "litert-builtin",
        "LiteRT and TensorFlow Lite without a delegate: the builtin kernels",
        "What `OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES` computes: fixed point, in ruy on x86-64 with two "
        "roundings, on ARM64 and in ruy's portable paths with one or two, as the number of rows decides.",
        _begin("litert-builtin"),
    ),
    Family(
        "litert-reference",
        "LiteRT and TensorFlow Lite, reference kernels",
        "What `OpResolverType.BUILTIN_REF` computes: since LiteRT 1.3 and TensorFlow 2.20 one rounding in float64, "
        "half away from zero; before, two roundings in fixed point.",
        _begin("litert-reference"),
    ),
    Family("tflm", "TensorFlow Lite Micro", "Its reference kernels: fixed point with two roundings.", ("tflm",)),
    Family(
        "cmsis-nn",
        "CMSIS-NN",
        "ARM's kernels for Cortex-M, called directly. As TensorFlow Lite Micro for int8; the build option "
        "CMSIS_NN_USE_SINGLE_ROUNDING rounds once.",
        _begin("cmsis-nn"),
    ),
    Family(
        "onnxruntime",
        "ONNX Runtime: QLinearMatMul and QGemm on x86-64",
        "float32 scale, clipped, then rounded once to even. Without VNNI, products are added in pairs of 16 bits.",
        _begin("onnxruntime"),
    ),
    Family(
        "torch-fbgemm",
        "PyTorch with fbgemm on x86-64",
        "The bias is a real value; float32 scale, rounded once to even. Without VNNI, products are added in pairs of "
        "16 bits.",
        _begin("torch-fbgemm"),
    ),
)


def pages() -> dict[str, str]:
    """File name -> the page's text."""
    return {f"{family.page}.md": "\n".join(_page(family)) + "\n" for family in FAMILIES}


def index() -> str:
    """The list of pages for docs/runtimes.md."""
    return "\n".join(
        f"- [{f.title}](runtimes/{f.page}.md): {', '.join(f'`{n}`' for n in f.runtimes)}" for f in FAMILIES
    )


def _page(family: Family) -> Iterator[str]:
    yield f"# {family.title}"
    yield ""
    yield f"{family.about} The letters are those of the [notation](../runtimes.md#notation)."
    yield ""
    for name in family.runtimes:
        runtime = RUNTIMES[name]
        yield f"- `{name}`: {runtime.title}. Shown on {runtime.oracle}; {runtime.platform}."
    yield from ("", "## Formulas of dense layers", "")
    yield from _formulas(family)
    yield from ("## A worked element", "")
    yield from _worked(family.runtimes[0])
    changes = [change for change in CHANGES if set(change.runtimes) & set(family.runtimes)]
    if changes:
        yield from ("## Older versions", "", "`RUNTIME@VERSION` names one. What was otherwise than above:", "")
        yield from (_change(change, family) for change in changes)
        yield from ("", "Versions that were run (tf: TensorFlow, tflite: tflite-runtime):", "")
        yield from (f"- `{name}`: {', '.join(run)}" for name in family.runtimes if (run := versions_run(name)))
        yield ""
    yield from ("## Evidence", "")
    for name in family.runtimes:
        yield from _evidence(name)
    sources = dict.fromkeys(source for name in family.runtimes for source in RUNTIMES[name].sources)
    if sources:
        yield from ("## Sources that were read", "")
        yield from (f"- {source}" for source in sources)


def _formulas(family: Family) -> Iterator[str]:
    followers: dict[str, dict[str, list[str]]] = {}
    for name in family.runtimes:
        for (operator, variant), rule in RUNTIMES[name].rules.items():
            if operator == "FULLY_CONNECTED" and isinstance(rule, Rule):
                types = str(variant).partition(" per_")[0]
                found = followers.setdefault(rule.name, {}).setdefault(name, [])
                found += [types] * (types not in found)
    for rule_name, equation in OPERATORS["FULLY_CONNECTED"].rules.items():
        if rule_name not in followers:
            continue
        yield from (f"### `{rule_name}`", "")
        yield from _grouped(followers[rule_name])
        yield from ("", "```text", *_split(equation), "```")
        found = RULES.get(rule_name)
        if isinstance(found, IntegerRule):
            yield from ("", "In C, where nothing overflows:", "", "```c", lines(found.requantize)[1], "```")
        yield ""


def _grouped(users: dict[str, list[str]]) -> Iterator[str]:
    by_types: dict[tuple[str, ...], list[str]] = {}
    for name, types in users.items():
        by_types.setdefault(tuple(types), []).append(name)
    for types, names in by_types.items():
        yield f"- {', '.join(types)}: {', '.join(f'`{name}`' for name in names)}"


def _split(equation: str) -> list[str]:
    """An equation, a statement a line."""
    return [part.strip() for part in re.split(r";  |,  ", equation)]


def _worked(runtime: str) -> Iterator[str]:
    """Every number of one element of a small layer."""
    weights = np.array([[73, -88, 127, -114], [5, 91, -17, 40]], np.int8)
    model = lastbit.dense(
        weights, [310, -42], input=(0.0334768519, -11), weights_scale=[0.0009074772, 0.0011], output=(0.0359097347, -10)
    )
    x = np.array([[120, -123, -82, 94]], np.int8)
    blocks = lastbit.explain(model, x, at=(0, 0), runtime=runtime).blocks()
    end = next(n for n, block in enumerate(blocks) if isinstance(block, Heading) and block.text.startswith("8."))
    stream = io.StringIO()
    print_blocks(blocks[:end], Console(file=stream, width=96, color_system=None, soft_wrap=True))
    text = "\n".join(line.rstrip() for line in stream.getvalue().splitlines())
    yield from ("```text", text.strip("\n"), "```", "")


def _change(change: Change, family: Family) -> str:
    spans = "; ".join(first if first == last else f"{first} to {last}" for first, last in change.spans)
    names = ", ".join(f"`{name}`" for name in change.runtimes if name in family.runtimes)
    return f"- {spans} ({names}): {change.what}."


def _evidence(name: str) -> Iterator[str]:
    """A table of counts, what is refused, and where it was run."""
    runtime, rows = RUNTIMES[name], evidence_of(name)
    seen = {(row.operator, row.variant): row for row in rows}
    yield from (f"### `{name}`", "", "| variant | rule | outputs | differ | rivals | refuted at |")
    yield "|---|---|---:|---:|---:|---:|"
    refused: dict[str, list[str]] = {}
    for (operator, variant), rule in sorted(((o, str(v)), rule) for (o, v), rule in runtime.rules.items()):
        if operator != "FULLY_CONNECTED":
            continue
        if isinstance(rule, Refused):
            refused.setdefault(rule.reason, []).append(variant)
            continue
        row = seen.get((operator, variant))
        numbers = " |  |  | "
        if row and row.outputs:
            rivals = [count for count in row.rivals_refuted_at.values() if count]
            numbers = f"{row.outputs:,} | {row.mismatches} | {len(rivals)} | {min(rivals, default=0):,}"
        yield f"| {variant} | `{rule.name}` | {numbers} |"
    yield from ("", "`refuted at`: outputs at which the closest rival is wrong.", "")
    if refused:
        yield from ("Refused, with the runtime's reason:", "")
        for reason, variants in refused.items():
            types = dict.fromkeys(variant.partition(" per_")[0] for variant in variants)
            yield f"- {reason}: {', '.join(variants if len(variants) <= 4 else types)}"
        yield ""
    runs = {run: variants for run, variants in outputs_by_run(rows).items() if variants}
    for run, variants in runs.items():
        of = "" if len(runs) == 1 else f" ({len(variants)} variants)"
        yield f"- Run on {run.cpu}; {run.platform}; {run.oracle} {run.version}{of}."
    yield ""


def too_wide(text: str, most: int = 100) -> Sequence[str]:
    """Cells of tables that are wider than a page takes."""
    cells = [cell.strip() for line in text.splitlines() if line.startswith("|") for cell in line.split(" | ")]
    return [cell for cell in cells if len(cell) > most]
