"""First screens of commands at 80 columns: the texts that tests compare with, and the pictures of the documents.

`python -m lab pages update` writes them. Each text is what the command line shows without `-v`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

import lastbit
from lab.pages.screen_reports import (
    ROOT,
    benchmark,
    difference,
    doctor,
    evaluation,
    identified,
    inputs,
    proof,
    quantized,
    question,
    tensor_story,
    vector_set,
    verification,
)
from lastbit.report.blocks import Block, Report, print_blocks
from lastbit.verbs.demo.numpy_code import numpy_as_asked
from lastbit.verbs.record.verb import record
from lastbit.verbs.runtimes.verb import runtimes_report

TEXTS = ROOT / "tests" / "recorded" / "screens"
PICTURES = ROOT / "docs" / "pictures"
WIDTH = 80


SCREENS: dict[str, Callable[[], Report]] = {
    "bench": benchmark,
    "compare": lambda: lastbit.compare(question(), "litert-xnnpack", "tflm", samples=2000, oracles=False),
    "diagnose": lambda: lastbit.diagnose(question(), None, numpy_as_asked, runtime="litert-xnnpack"),
    "diff": difference,
    "doctor": doctor,
    "evaluate": evaluation,
    "explain": lambda: lastbit.explain(question(), inputs(1), at=(0, 3), runtime="litert-xnnpack"),
    "explain_tensor": tensor_story,
    "export": lambda: lastbit.export(question(), "tflm"),
    "identify": identified,
    "inspect": lambda: lastbit.inspect(question()),
    "inspect_op": lambda: lastbit.inspect(question(), 0),
    "prove": proof,
    "prove_differs": lambda: proof(wrong=3),
    "quantize": quantized,
    "record": lambda: record(question()),
    "runtimes": runtimes_report,
    "thresholds": lambda: lastbit.thresholds(question(), "tflm"),
    "vectors": vector_set,
    "verify": verification,
    "verify_differs": lambda: verification(wrong=3),
    "verify_gap": lambda: verification(gap="this variant is not covered yet"),
}
"""Name -> the report whose first screen it is."""

# Numbers that grow with the evidence, or with the files that are written: they are zeros in the texts.
_GROWING = {"runtimes": r"\d+(?:,\d{3})+", "record": r" [\d,]{5,} "}


def diagnosis() -> list[Block]:
    """What diagnose finds in the question's code."""
    return SCREENS["diagnose"]().first_screen()


PICTURED: dict[str, tuple[str, Callable[[], list[Block]]]] = {
    "diagnose": ("lastbit diagnose question.tflite --code mine.py:numpy_as_asked", diagnosis),
}
"""Name of the picture -> the command and what it shows."""


def lines_of(blocks: Sequence[Block]) -> list[str]:
    """Blocks as a terminal of 80 columns shows them, without colours."""
    stream = io.StringIO()
    print_blocks(blocks, Console(file=stream, width=WIDTH, force_terminal=True, color_system=None, highlight=False))
    return [line.rstrip() for line in stream.getvalue().strip("\n").splitlines()]


def screen(name: str) -> str:
    """The text of one of `SCREENS`."""
    text = "\n".join(lines_of(SCREENS[name]().first_screen())) + "\n"
    return re.sub(_GROWING[name], lambda found: re.sub(r"\d", "0", found[0]), text) if name in _GROWING else text


def picture(name: str) -> str:
    """One of `PICTURED` as SVG."""
    title, blocks = PICTURED[name]
    console = Console(file=io.StringIO(), width=WIDTH, force_terminal=True, record=True, highlight=False)
    print_blocks(blocks(), console)
    svg = console.export_svg(title=title, theme=DIMMED_MONOKAI, unique_id=name)
    # Without the fonts that rich would fetch from a server: a viewer's own fixed font will do.
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "monospace")


def texts() -> dict[Path, str]:
    """Every text, by the file that it stands in."""
    return {TEXTS / f"{name}.txt": screen(name) for name in SCREENS}


def pictures() -> dict[Path, str]:
    """Every picture, by the file that it stands in."""
    return {PICTURES / f"{name}.svg": picture(name) for name in PICTURED}


def words(text: str) -> str:
    """What is compared: of a picture the words, as rich's next version may draw it in another way."""
    return re.sub(r"<style.*?</style>|<[^>]*>|\s+", " ", text, flags=re.DOTALL) if text.startswith("<svg") else text
