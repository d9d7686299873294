"""The notebooks in examples/ run, with a real Jupyter kernel; their own assertions hold what they claim."""

from __future__ import annotations

import re
import sys

import pytest

from tests.support.interpreters import needs_all_interpreters
from tests.support.places import ROOT

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from lab.pages import notebooks

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@needs_all_interpreters
@pytest.mark.skipif(sys.platform == "win32", reason="Jupyter kernels want another event loop there")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path):
    pytest.importorskip("h5py")
    cells = [cell for cell in notebooks.run(path).cells if cell.cell_type == "code"]
    assert sum(bool(cell.outputs) for cell in cells) >= 5


def test_every_notebook_is_in_the_readme_and_has_its_outputs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 2
    for path in NOTEBOOKS:
        assert f"examples/{path.name}" in readme
        text = path.read_text(encoding="utf-8")
        assert '"outputs": [\n' in text
        assert not re.search(r"/\w+/\S*src/lastbit", text), "where the checkout lies stands in it"
