"""What both ends of a tape agree on: how an answer names its job, and what stands for a crash. See lab/reach/tape.py.

An answer on tape is the job's key, `KEY_BYTES` long, and a frame of src/lastbit/oracles/tflite_worker.py.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

CRASHED = "crashed"
KEY_BYTES = 32


def job_key(header: dict[str, Any], body: bytes) -> bytes:
    """Of a job's frame."""
    return hashlib.sha256(json.dumps(header).encode() + body).hexdigest()[:KEY_BYTES].encode()
