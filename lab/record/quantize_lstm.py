"""Record what real converters write for LSTMs: a float file with its ranges, and digests of each converter's file.

    python -m lab record quantize_lstm FOLDER

FOLDER has calibrated float files and, in rVERSION (such as r12), what `lab/checks/quantize_oracle.py` made of them with
that TensorFlow 2.VERSION. Writes tests/recorded/quantize_lstm.zip: the float files, and results.json with
{converter: {file: digests, null where its process ends}}.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

from lab.checks.quantize_canonical import digests

TARGET = Path(__file__).parents[2] / "tests" / "recorded" / "quantize_lstm.zip"


def main() -> None:
    """Write the archive."""
    folder = Path(sys.argv[1])
    models = sorted(folder.glob("*.tflite"))
    results = {}
    for real in sorted(folder.glob("r*")):
        made = {path.name: real / path.name for path in models}
        results[f"tflite@2.{real.name[1:]}"] = {
            name: digests(path.read_bytes(), options=True) if path.exists() else None for name, path in made.items()
        }
    with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("results.json", json.dumps({"results": results}))
        for path in models:
            archive.writestr(path.name, path.read_bytes())
    print(TARGET.stat().st_size, "bytes", {like: len(each) for like, each in results.items()})


if __name__ == "__main__":
    main()
