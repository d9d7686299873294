"""Record real converters' results for the tests: tests/recorded/quantize.zip, or with options quantize_moves.zip.

    PYTHON -m lab record quantize FOLDER HOW=LIKE[/ACTIVATIONS]... [--models N] [--moves | --paddings]

FOLDER holds float models and a folder of results for each HOW (lab/checks/quantize_oracle.py). The archive has N of the
float models with their ranges, and for each converter eight hexadecimal digits of every tensor
(`quantize_canonical.digests`). With --moves, where the models are those of lab/cases/quantize_moves.py and 40 chains,
of every operator's options too; with --paddings (quantize_paddings.zip) the same for the models of PADs among them.
"""

from __future__ import annotations

import json
import platform
import sys
import zipfile
from pathlib import Path

from lab.checks.quantize_canonical import digests

RECORDED = Path(__file__).parents[2] / "tests" / "recorded"


def main() -> None:
    """Write the archive."""
    folder = Path(sys.argv[1])
    count = int(sys.argv[sys.argv.index("--models") + 1]) if "--models" in sys.argv else 16
    paddings = "--paddings" in sys.argv
    moves = paddings or "--moves" in sys.argv
    target = RECORDED / f"quantize{'_paddings' if paddings else '_moves' if moves else ''}.zip"
    pairs = dict(argument.split("=") for argument in sys.argv[2:] if "=" in argument)
    names = [path.name for path in sorted(folder.glob("*.tflite"))][:count]
    results = {}
    for how, like in pairs.items():
        results[like] = {
            name: digests((folder / how / name).read_bytes(), options=moves) if (folder / how / name).exists() else None
            for name in names
        }
    about = {"machine": platform.machine(), "models": f"lab/cases/quantize_{'moves' if moves else 'models'}.py"}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("results.json", json.dumps({"about": about, "results": results}, separators=(",", ":")))
        for name in names:
            archive.writestr(name, (folder / name).read_bytes())
    print(target.stat().st_size, "bytes;", {like: len(found) for like, found in results.items()})


if __name__ == "__main__":
    main()
