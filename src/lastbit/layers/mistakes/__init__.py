"""Mistakes that people make with quantized dense layers: a catalogue, and what a layer with them computes.

>>> MISTAKES["scale_added"].stage
'multiplier'
"""

from __future__ import annotations

from .base import SLOTS, STAGES, Mistake
from .catalogue import MISTAKES, WHOLE, applicable
from .pipeline import wrong_output

__all__ = ["MISTAKES", "SLOTS", "STAGES", "WHOLE", "Mistake", "applicable", "wrong_output"]
