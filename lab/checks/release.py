"""Refuse a release whose tag, version, CHANGELOG and CITATION do not say the same.

    python -m lab check release --tag v0.1.0

Without --tag only the files are compared with each other. Exit code 0: they agree; 1: each difference is printed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def differences(root: Path, tag: str | None) -> list[str]:
    """What does not fit the version that pyproject.toml names, a line each.

    Args:
        root: the checkout.
        tag: the tag of the release, `v` and the version; None for a check between releases, where the CHANGELOG may
            call the version unreleased.
    """
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    found = []
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}, pyproject.toml's version is {version}: wanted the tag v{version}")
    cited = re.search(r"^version: (\S+)$", (root / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    if cited is None or cited[1] != version:
        found.append(f"CITATION.cff names version {cited[1] if cited else 'none'}, pyproject.toml {version}")
    heading = rf"^## {re.escape(version)} - (unreleased|\d{{4}}-\d\d-\d\d)$"
    entry = re.search(heading, (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if entry is None:
        found.append(f"CHANGELOG.md has no heading '## {version} - YYYY-MM-DD'")
    elif tag is not None and entry[1] == "unreleased":
        found.append(f"CHANGELOG.md calls {version} unreleased: write the day of the release there")
    return found


def main() -> int:
    """Print what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag", metavar="TAG", help="the tag of the release, such as v0.1.0")
    found = differences(ROOT, parser.parse_args().tag)
    print("\n".join(found) or "version, CHANGELOG and CITATION agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
