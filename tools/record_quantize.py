"""Record real converters' results for the tests: tests/golden/quantize.zip.

    PYTHON tools/record_quantize.py FOLDER HOW=LIKE[/ACTIVATIONS]... [--models N]

FOLDER holds float models and a folder of results for each HOW (tools/quantize_oracle.py). The archive has N of the
float models with their ranges, and for each converter eight hexadecimal digits of every tensor
(`quantize_canonical.digests`).
"""

from __future__ import annotations

import json
import platform
import sys
import zipfile
from pathlib import Path

from quantize_canonical import digests

TARGET = Path(__file__).parents[1] / "tests" / "golden" / "quantize.zip"


def main() -> None:
    """Write the archive."""
    folder = Path(sys.argv[1])
    count = int(sys.argv[sys.argv.index("--models") + 1]) if "--models" in sys.argv else 16
    pairs = dict(argument.split("=") for argument in sys.argv[2:] if "=" in argument)
    names = [path.name for path in sorted(folder.glob("*.tflite"))][:count]
    results = {}
    for how, like in pairs.items():
        results[like] = {
            name: digests((folder / how / name).read_bytes()) if (folder / how / name).exists() else None
            for name in names
        }
    about = {"machine": platform.machine(), "models": "tools/quantize_models.py, seeds are the files' names"}
    with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("results.json", json.dumps({"about": about, "results": results}, separators=(",", ":")))
        for name in names:
            archive.writestr(name, (folder / name).read_bytes())
    print(TARGET.stat().st_size, "bytes;", {like: len(found) for like, found in results.items()})


if __name__ == "__main__":
    main()
