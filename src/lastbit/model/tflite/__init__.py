"""Bytes to Model and back: the only part of LastBit that knows FlatBuffers.

`load` reads a .tflite file, `write`, `extract_operator` and `with_outputs` make new ones. The FlatBuffers
runtime and the schema classes are imported when one of these runs, never by `import lastbit.model.tflite`.
"""

from .reader import load
from .writer import extract_operator, with_outputs, write

__all__ = ["extract_operator", "load", "with_outputs", "write"]
