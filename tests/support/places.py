"""Where things are that tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "recorded"
MODELS = ROOT.parent / "shared" / "models"

needs_shared_models = pytest.mark.skipif(not MODELS.is_dir(), reason=f"{MODELS} is not there")


def shared_models() -> list[Path]:
    """The third-party models, where this checkout has them; without the malformed one."""
    if not MODELS.is_dir():
        return []
    return [path for path in sorted(MODELS.glob("*.tflite")) if path.stem != "cpetig_hello_world_5"]
