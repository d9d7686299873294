"""docs/files.md from tests/recorded/files.json: which unusual files each interpreter runs, and LastBit too.

python -m lab pages files
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lastbit import load
from lastbit.engines import reference
from lastbit.model.errors import LastBitError, ModelError
from lastbit.ops.prepare import prepare

__all__ = ["GOLDEN", "PAGE", "content_of", "lastbit_answer", "page", "recorded", "same", "unpacked", "write_page"]

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "recorded" / "files.json"
PAGE = ROOT / "docs" / "files.md"

_HEAD = """# Unusual files

What LastBit does with a file that is damaged or unusual follows from what the real interpreters do with it. For each
reason to refuse a file, the smallest such file was made and given to all of them. Where one of them runs a file,
LastBit opens it; where a runtime refuses it, LastBit refuses it for that runtime, with the reason. What a runtime
prints for it is only said where LastBit prints the same.

Asked: {asked}.

The files, their inputs, everything that was printed and the full words of the interpreters are in
`tests/recorded/files.json`. `lab/record/files.py` asks again.

In the columns of the interpreters, **runs** means that it gave outputs; else its words stand there. LastBit: *exact*
means that it prints the same numbers for every runtime that runs the file; *opens* that it reads and shows the file,
and refuses to run it in some runtime that does, with a reason; *refuses* that it does not read it.
"""


def lastbit_answer(content: bytes, inputs: list[Any], runtime: str) -> list[Any] | str:
    """The outputs, or why there are none: `unreadable: ...` or `refused: ...`."""
    try:
        prepared = prepare(load(content), runtime)
        return list(reference.run(prepared, inputs).outputs)
    except ModelError as error:
        return f"unreadable: {error}"
    except LastBitError as error:
        return f"refused: {error}"


def recorded() -> list[dict[str, Any]]:
    """Every recorded file with its answers."""
    files: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["files"]
    return files


def unpacked(entry: dict[str, Any]) -> np.ndarray[Any, Any]:
    """An array that `record_files.packed` wrote."""
    return np.frombuffer(bytes.fromhex(entry["hex"]), entry["dtype"]).reshape(entry["shape"])


def content_of(entry: dict[str, Any]) -> bytes:
    """The recorded file."""
    return zlib.decompress(base64.b64decode(entry["file"]))


def same(found: list[Any] | str, wanted: list[dict[str, Any]]) -> bool:
    """Whether these are the recorded outputs, to the last bit."""
    return (
        not isinstance(found, str)
        and len(found) == len(wanted)
        and all(
            str(a.dtype) == b["dtype"] and list(a.shape) == b["shape"] and a.tobytes().hex() == b["hex"]
            for a, b in zip(found, wanted, strict=True)
        )
    )


def verdict(entry: dict[str, Any]) -> str:
    """What LastBit does with the file, over all runtimes that run it."""
    content, inputs = content_of(entry), [unpacked(value) for value in entry["inputs"]]
    seen = []
    for runtime, answer in entry["answers"].items():
        found = lastbit_answer(content, inputs, runtime)
        if isinstance(found, str) and found.startswith("unreadable"):
            return "refuses"
        if answer["answer"] == "ran":
            seen.append(same(found, answer["outputs"]))
    return "exact" if seen and all(seen) else "opens"


def _words(answers: list[dict[str, Any]]) -> str:
    """What one or several interpreters say, once where they say the same."""
    texts = []
    for answer in answers:
        text = "runs" if answer["answer"] == "ran" else answer["answer"]
        if answer.get("words"):
            text += ": " + " ".join(answer["words"].split()).replace("|", "/")[:110]
        texts.append(text)
    return " / ".join(dict.fromkeys(texts))


def page() -> str:
    """The document."""
    data = json.loads(GOLDEN.read_text())
    prints = list(data["fingerprints"].values())
    asked = ", ".join(sorted({f"{found['oracle']} {found['version']}" for found in prints}))
    lines = [_HEAD.format(asked=f"{asked} on {prints[0]['cpu']}")]
    for group in dict.fromkeys(entry["group"] for entry in data["files"]):
        lines += [f"## {group[0].upper()}{group[1:]}", ""]
        lines += ["| file | digest | LiteRT | TensorFlow Lite Micro | LastBit |", "|---|---|---|---|---|"]
        for entry in data["files"]:
            if entry["group"] == group:
                litert = _words([answer for name, answer in entry["answers"].items() if name != "tflm"])
                cells = (entry["what"], f"`{entry['sha256'][:12]}`", litert, _words([entry["answers"]["tflm"]]))
                lines.append("| " + " | ".join([*cells, verdict(entry)]) + " |")
        lines.append("")
    return "\n".join(lines)


def write_page() -> None:
    """Write docs/files.md."""
    PAGE.write_text(page())


if __name__ == "__main__":
    write_page()
