"""Build the site of the documents with Sphinx, and check every link in it; no network is asked.

    python -m lab check site [FOLDER]

ends with 1 where Sphinx warns, a link within the site leads nowhere, or a page would load something from elsewhere.
Needs the extra `[docs]`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[2]


class Links(HTMLParser):
    """What a page links to, what it loads, and the places that links may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag's addresses."""
        found = {name: value or "" for name, value in attrs}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if "src" in found or (tag == "link" and found.get("rel") == "stylesheet"):
            self.loads.append(found.get("src") or found["href"])
        elif "href" in found:
            self.links.append(found["href"])


def problems(folder: Path) -> list[str]:
    """Links of a site that lead nowhere, and whatever a page would load from elsewhere."""
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        where = path.relative_to(folder)
        found += [f"{where}: loads {address}" for address in page.loads if urlsplit(address).netloc]
        for address in (*page.links, *page.loads):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{where}: {address}: there is no such file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                found.append(f"{where}: {address}: there is no such place on the page")
    return found


def main() -> int:
    """Build and check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where the site goes; a temporary folder by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary) / "site").resolve()
        command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", "-b", "html", "-d"]
        built = subprocess.run([*command, str(Path(temporary) / "trees"), str(ROOT / "docs"), str(folder)])
        if built.returncode:
            return 1
        found = problems(folder)
        print("\n".join(found or [f"{len(list(folder.rglob('*.html')))} pages: every link leads somewhere"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
