"""Record what real converters write by other methods than int8 with ranges: tests/recorded/quantize_methods.tar.xz.

    python -m lab record quantize_methods CONVERTER=FOLDER[:NAME,...]...

FOLDER holds float models, and a folder of results for each method (lab/checks/dynamic_range_oracle.py: dynamic and
float16; lab/checks/ai_edge_oracle.py: its recipes). NAMEs pick models, all of them if none is given. The archive has
the float models of each converter, and for each method eight hexadecimal digits of every tensor (`digests` of
lab/checks/quantize_canonical.py).
"""

from __future__ import annotations

import io
import json
import platform
import sys
import tarfile
from pathlib import Path

from lab.checks.quantize_canonical import digests

TARGET = Path(__file__).parents[2] / "tests" / "recorded" / "quantize_methods.tar.xz"


def main() -> None:
    """Write the archive; models come in the order of their names, so that alike ones stand side by side."""
    results: dict[str, dict[str, dict[str, list[str] | None]]] = {}
    models: list[tuple[str, str, bytes]] = []
    for argument in sys.argv[1:]:
        label, _, place = argument.partition("=")
        folder, _, picked = place.partition(":")
        names = picked.split(",") if picked else [path.stem for path in sorted(Path(folder).glob("*.tflite"))]
        for name in names:
            path = Path(folder) / f"{name}.tflite"
            models.append((name, label, path.read_bytes()))
            for method in sorted(entry.name for entry in Path(folder).iterdir() if entry.is_dir()):
                made = Path(folder) / method / path.name
                if made.exists() or made.with_suffix(".error").exists():
                    found = digests(made.read_bytes()) if made.exists() else None
                    results.setdefault(label, {}).setdefault(method, {})[path.name] = found
    about = {"machine": platform.machine(), "models": "lab/checks/dynamic_range_oracle.py, lab/checks/methods_check.py"}
    text = json.dumps({"about": about, "results": results}, separators=(",", ":")).encode()
    members = [("results.json", text)]
    members += [(f"{label}/{name}.tflite", content) for name, label, content in sorted(models)]
    with tarfile.open(TARGET, "w:xz", preset=9) as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    print(
        TARGET.stat().st_size,
        "bytes;",
        {label: {m: len(r) for m, r in found.items()} for label, found in results.items()},
    )


if __name__ == "__main__":
    main()
