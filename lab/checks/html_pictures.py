"""Take pictures of HTML reports in a real browser, wide and narrow, light and dark: for people to look at.

    python -m lab check html FOLDER [--model FILE]

writes pages of several verbs and a .png of each into FOLDER. It ends with 1 where a page is wider than its window:
then a reader on a telephone has to move it sideways. Tables and code may be wider; they move on their own.
Needs `chromium` (lab/tools.sh).
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path

from click.testing import CliRunner

from lab.pages.json_documents import fill
from lastbit.cli import main as lastbit

PAGES = {
    "inspect": "inspect {m}",
    "operator": "inspect {m} --op 0",
    "explain": "explain {m} -i {x} --at 0,3 --runtime tflm",
    "diagnose": "diagnose {m} -i {x} --output {wrong}",
    "network": "diagnose {two} --code {code}:network",
    "hybrid": "diagnose {hybrid} --code {code}:hybrid",
    "compare": "compare {m} --runtime tflm --runtime litert-reference --no-oracle",
    "thresholds": "thresholds {m} --runtime tflm",
    "identify": "identify {m} -i {x} --output {y}",
    "evaluate": "evaluate {m} --data {x} --labels {labels} --runtime tflm --runtime litert-xnnpack",
    "runtimes": "runtimes",
    "tflm": "runtimes tflm",
    "doctor": "doctor",
}
WIDTHS = (1280, 400)
SCHEMES = {"dark": 0, "light": 1}
# In a frame: a window without a screen is at least 500 pixels wide.
_FRAME = """<!DOCTYPE html><html><head><title></title></head><body>
<iframe style="border:0; height:1400px; width:{width}px" srcdoc="{page}"></iframe>
<script>onload = () => {{ const page = document.querySelector("iframe").contentDocument.documentElement;
document.title = "" + (page.scrollWidth - page.clientWidth); }}</script></body></html>"""


def browser(*options: str) -> str:
    """Run Chromium without a window; its stdout."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("chromium is not here: see lab/tools.sh")
    fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    return subprocess.run(
        [program, *fixed, *options], capture_output=True, text=True, timeout=120, check=True, encoding="utf-8"
    ).stdout


def too_wide(page: Path, width: int) -> int:
    """By how many pixels a page is wider than its window; measured by a script around it."""
    text = page.read_text(encoding="utf-8")
    around = page.with_suffix(".frame.html")
    around.write_text(_FRAME.format(width=width, page=escape(text)), encoding="utf-8")
    shown = browser(f"--window-size={max(width, 600)},1400", "--dump-dom", around.resolve().as_uri())
    around.unlink()
    found = re.search(r"<title>(-?\d+)</title>", shown)
    if found is None:
        raise SystemExit(f"{page}: the browser did not say how wide it is")
    return int(found.group(1))


def main() -> int:
    """Make the pages and their pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="also inspect this model")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    names = fill(options.folder)
    pages = {**PAGES, **({"model": f"inspect {options.model}"} if options.model else {})}
    wide = 0
    for name, command in pages.items():
        page = options.folder / f"{name}.html"
        result = CliRunner().invoke(lastbit, [*command.format(**names).split(), "--html", str(page)])
        if not page.exists():
            raise SystemExit(f"{command}: {result.stderr}")
        for width in WIDTHS:
            over = too_wide(page, width)
            wide += over > 0
            print(f"{page}: {width} pixels" + (f", TOO WIDE by {over}" if over > 0 else ""))
            for scheme, number in SCHEMES.items():
                picture = (options.folder / f"{name}-{width}-{scheme}.png").resolve()
                browser(
                    f"--window-size={width},1400",
                    f"--blink-settings=preferredColorScheme={number}",
                    f"--screenshot={picture}",
                    page.resolve().as_uri(),
                )
    return 1 if wide else 0


if __name__ == "__main__":
    sys.exit(main())
