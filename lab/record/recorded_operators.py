"""Reading the golden files that lab/record/operators.py writes."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lab.cases.operators import Array
from lastbit.model.graph import Model
from lastbit.model.tflite import load
from lastbit.oracles import Oracle, OracleFailure

__all__ = ["add_runtime", "read_golden"]

Outcome = Sequence[Array] | str


def read_golden(
    path: Path, every: int = 1
) -> tuple[dict[str, dict[str, str]], Iterator[tuple[Model, list[Array], Mapping[str, Outcome]]]]:
    """One golden file.

    Args:
        path: the file.
        every: read each so many-th case only, the first one among them.

    Returns:
        Runtime -> its interpreter's fingerprint; and for each case its model, its inputs, and by runtime the
        interpreter's outputs, or `refused`, `crashed` or `timeout`.
    """
    with np.load(path) as archive:
        blob = lzma.decompress(archive["blob"].tobytes())
        described = json.loads(str(archive["cases"]))
        fingerprints: dict[str, dict[str, str]] = json.loads(str(archive["fingerprints"]))

    def cases() -> Iterator[tuple[Model, list[Array], Mapping[str, Outcome]]]:
        at = 0
        for number, entry in enumerate(described):
            parts = []
            for size in entry["sizes"]:
                parts.append(blob[at : at + size])
                at += size
            if number % every:
                continue
            model = load(parts[0])
            count = entry["inputs"]
            inputs = [_array(tensor, raw) for tensor, raw in zip(model.inputs, parts[1 : 1 + count], strict=True)]
            results = [_outputs(model, raw) for raw in parts[1 + count :]]
            outcomes = {n: results[o] if isinstance(o, int) else o for n, o in entry["outcomes"].items()}
            yield model, inputs, outcomes

    return fingerprints, cases()


def add_runtime(path: Path, oracle: Oracle) -> None:
    """Ask one more interpreter the cases of a golden file, and add what it prints. The oracle is closed then."""
    _, cases = read_golden(path)
    with np.load(path) as archive:
        blob = lzma.decompress(archive["blob"].tobytes())
        described = json.loads(str(archive["cases"]))
        fingerprints = json.loads(str(archive["fingerprints"]))
    grown, at = bytearray(), 0
    with oracle:
        for entry, (model, inputs, _) in zip(described, cases, strict=True):
            parts = []
            for size in entry["sizes"]:
                parts.append(blob[at : at + size])
                at += size
            seen = parts[1 + entry["inputs"] :]
            try:
                outputs = oracle.run(model.content, [inputs]).outputs[0]
            except OracleFailure as failure:
                entry["outcomes"][oracle.name] = failure.kind
            else:
                joined = b"".join(np.ascontiguousarray(x).tobytes() for x in outputs)
                if joined not in seen:
                    seen.append(joined)
                entry["outcomes"][oracle.name] = seen.index(joined)
            parts[1 + entry["inputs"] :] = seen
            entry["sizes"] = [len(part) for part in parts]
            grown += b"".join(parts)
        fingerprints[oracle.name] = oracle.fingerprint.as_dict()
    np.savez_compressed(
        path,
        fingerprints=np.asarray(json.dumps(fingerprints)),
        cases=np.asarray(json.dumps(described)),
        blob=np.frombuffer(lzma.compress(bytes(grown), preset=9), np.uint8),
    )


def _array(tensor, raw: bytes) -> Array:  # type: ignore[no-untyped-def]
    return np.frombuffer(raw, tensor.dtype.numpy).reshape(tensor.shape)


def _outputs(model: Model, raw: bytes) -> list[Array]:
    outputs, at = [], 0
    for index in model.operators[0].outputs:
        tensor = model.tensors[index]
        size = int(np.prod(tensor.shape)) * tensor.dtype.numpy.itemsize  # type: ignore[union-attr]
        outputs.append(_array(tensor, raw[at : at + size]))
        at += size
    return outputs
