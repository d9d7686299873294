"""Run the notebooks in examples/ and keep their outputs: python -m lab pages notebooks (needs `.[dev]`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(path: Path) -> Any:
    """A notebook after all its cells have run; one that fails raises CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources, record_timing=False).execute()
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for cell in notebook.cells:
        if "outputs" in cell:  # what interpreters say on stderr is no result
            cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
    return notebook


def main() -> None:
    """Run and write all."""
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        # Where this checkout lies is nobody's business.
        text = nbformat.writes(run(path)).replace(f"{ROOT}/", "")
        path.write_text(text + "\n", encoding="utf-8")
        print(path.name)


if __name__ == "__main__":
    main()
