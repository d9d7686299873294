"""First screens of commands at 80 columns: the texts that tests compare with, and the pictures of the documents.

`python -m lab pages update` writes them. Each text is what the command line shows without `-v`. Numbers of evidence
are zeros in the text of `runtimes`, as they grow with every run that is collected. What a machine decides (interpreters
that are here) is given, not looked up.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

import lastbit
from lastbit.layers.differences import compare_arrays
from lastbit.model.graph import Model
from lastbit.oracles import ORACLES
from lastbit.report.blocks import Block, Code, Report, print_blocks
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.demo.numpy_code import numpy_as_asked
from lastbit.verbs.doctor.verb import DoctorReport
from lastbit.verbs.runtimes.verb import runtimes_report
from lastbit.verbs.vectors.report import Catch, LayerVectors, VectorSet
from lastbit.verbs.verify.report import Verification
from lastbit.verbs.verify.result import Comparison, OperatorResult, RuntimeResult

ROOT = Path(__file__).parents[2]
TEXTS = ROOT / "tests" / "recorded" / "screens"
PICTURES = ROOT / "docs" / "pictures"
WIDTH = 80


def question() -> Model:
    """The forum question's dense layer of 32 units, with a scale for each, as a model of its own."""
    whole = lastbit.load(ROOT / "src" / "lastbit" / "data" / "question.int8.tflite")
    op = whole.dense_operators[0]
    weights = whole.tensors[op.inputs[1]]
    ends = [whole.tensors[index].quant for index in (op.inputs[0], op.outputs[0])]
    assert weights.data is not None
    assert weights.quant is not None
    given = [(float(quant.scale[0]), int(quant.zero_point[0])) for quant in ends if quant is not None]
    scale = weights.quant.scale
    shape = (1, 16, 48)
    layer = lastbit.dense(weights.data, None, input=given[0], weights_scale=scale, output=given[1], input_shape=shape)
    return replace(layer, source="question.tflite")


def verification(wrong: int = 0, gap: str = "") -> Verification:
    """A verification of the question's model on two runtimes.

    Args:
        wrong: outputs of the first one that differ.
        gap: why the second one's operator was not compared; empty: it was.
    """
    model = question()
    results = []
    for name, bad, reason in (("litert-xnnpack", wrong, ""), ("tflm", 0, gap)):
        wanted = np.zeros((25, 32), np.int8)
        found = wanted.copy()
        found.flat[7 : 7 + bad] = 1
        comparison = Comparison("cut out, 25 row(s) a call", "its own kernels")
        comparison.add(compare_arrays(wanted, found))
        op = OperatorResult(0, "FULLY_CONNECTED", "" if reason else "the_rule", "tflm", reason)
        op.comparisons = [] if reason else [comparison]
        results.append(RuntimeResult(model, RUNTIMES[name], {"oracle": "ai-edge-litert"}, [op]))
    return Verification(model, 25, 0, results, [name for name in RUNTIMES if name not in ("litert-xnnpack", "tflm")])


def doctor(works: Sequence[str] = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")) -> DoctorReport:
    """What doctor finds on a machine where some interpreters run and two packages are missing."""
    detail = {True: "starts and computes a small layer (0.1 s)", False: "for another CPU"}
    oracles = [
        {"name": name, "mode": "", "state": "works" if name in works else "missing", "detail": detail[name in works]}
        for name in ORACLES
    ]
    missing = [
        {"distribution": name, "status": "missing", "available": True, "install": f'pip install "{name}==1.0"'}
        for name in ("onnxruntime", "torch")
    ]
    core = {"works": True, "detail": "works (a layer worked by hand has the right values on every runtime)"}
    return DoctorReport(
        {
            "lastbit": "0.1.0",
            "platform": "Linux-x86_64, Python 3.11.7",
            "this_cpu": {"runtime": "litert-xnnpack", "why_none": None},
            "core": core,
            "oracles": oracles,
            "extras": missing,
            "compiled_code": {"folder": "kept", "problem": None},
        }
    )


def vector_set() -> VectorSet:
    """Vectors of the question's layer that catch six things, four of which random vectors catch too."""
    six = [Catch(f"mistake_{i}", "mistake", "", [i], "", max(i - 1, 0), 1000, True) for i in range(6)]
    never = Catch("another_runtime", "runtime", "", [], "the same rule", 0, 1000, False)
    layer = LayerVectors(0, "FULLY_CONNECTED", x=np.zeros((25, 48), np.int8), catches=[*six, never])
    layer.random, layer.confirmed = 1000, 800
    oracle = {"oracle": "tflite-micro", "version": "0.dev20261023182759", "mode": "TensorFlow Lite Micro"}
    made = VectorSet(question(), RUNTIMES["tflm"], [layer], oracle, 1000, 0)
    made.files = [f"vectors/op0.{ending}" for ending in ("npz", "json", "h")]
    return made


SCREENS: dict[str, Callable[[], Report]] = {
    "doctor": doctor,
    "inspect": lambda: lastbit.inspect(question()),
    "inspect_op": lambda: lastbit.inspect(question(), 0),
    "runtimes": runtimes_report,
    "vectors": vector_set,
    "verify": verification,
    "verify_differs": lambda: verification(wrong=3),
    "verify_gap": lambda: verification(gap="this variant is not covered yet"),
}
"""Name -> the report whose first screen it is."""


def diagnosis() -> list[Block]:
    """What diagnose finds in the question's code, without the links to threads, which are wider than a screen."""
    blocks = lastbit.diagnose(question(), None, numpy_as_asked, runtime="litert-xnnpack").first_screen()
    return [
        Code("\n".join(line for line in block.text.splitlines() if "https://" not in line))
        if isinstance(block, Code)
        else block
        for block in blocks
    ]


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
    return re.sub(r"\d+(?:,\d{3})+", lambda found: re.sub(r"\d", "0", found[0]), text) if name == "runtimes" else text


def picture(name: str) -> str:
    """One of `PICTURED` as SVG."""
    title, blocks = PICTURED[name]
    console = Console(file=io.StringIO(), width=WIDTH, force_terminal=True, record=True, highlight=False)
    print_blocks(blocks(), console)
    svg = console.export_svg(title=title, theme=DIMMED_MONOKAI, unique_id=name)
    # Without the fonts that rich would fetch from a server: a viewer's own fixed font will do.
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "monospace")


def files() -> dict[Path, str]:
    """Every text and picture, by the file that it stands in."""
    texts = {TEXTS / f"{name}.txt": screen(name) for name in SCREENS}
    return texts | {PICTURES / f"{name}.svg": picture(name) for name in PICTURED}


def words(text: str) -> str:
    """What is compared: of a picture the words, as rich's next version may draw it in another way."""
    return re.sub(r"<style.*?</style>|<[^>]*>|\s+", " ", text, flags=re.DOTALL) if text.startswith("<svg") else text
