"""What LiteRT printed on ARM64, from the golden files of lab/record/arm64.py, and what LastBit makes of the same."""

import json
from functools import cache

import numpy as np

from lab.reach.time_machine import decode, unpack
from lastbit.model.errors import Refusal, UnsupportedError
from lastbit.model.tflite import load
from lastbit.ops.prepare import prepare_operator
from lastbit.runtimes import RUNTIMES
from tests.support.places import GOLDEN

TODAY = "2.3.0"
ARM64 = tuple(name for name in RUNTIMES if "-arm64" in name)


def runtime_of(name):
    """The runtime that a name in a golden file is of: today's, or that of a version."""
    runtime = name.partition(" ")[0]
    base, _, version = runtime.partition("@")
    return base if version == TODAY else runtime


class Recorded:
    """One golden file. `listing`: its .json; `arrays()`: its arrays; `model_of(number)`: a case's model.

    `ours(number, runtime)`: the outputs and the kernel, or None where LastBit refuses; `inexact`: (number, runtime) of
    those that it refuses for pairs of weights of -128.
    """

    def __init__(self, name):
        self.listing = json.loads((GOLDEN / f"{name}.json").read_text())
        self.arrays = cache(lambda: unpack(GOLDEN / f"{name}.npz"))
        self.model_of = cache(lambda number: load(self.arrays()[f"{number}/model"].tobytes()))
        self.ours = cache(self._ours)
        self.inexact = set()

    def _ours(self, number, runtime):
        model = self.model_of(number)
        try:
            prepared = prepare_operator(model, model.operators[0], runtime)
        except UnsupportedError as error:
            if error.kind is Refusal.NOT_EXACT:
                self.inexact.add((number, runtime))
            return None
        return np.stack([prepared.evaluate([x])["output"] for x in self.arrays()[f"{number}/x"]]), prepared.kernel

    def printed(self, name):
        """(case, its output or refusal, whether the delegate took it) of a runtime's version."""
        for number, entry in enumerate(decode(self.listing["printed"][name], self.listing["refusals"])):
            if isinstance(entry, str):
                yield number, entry, False
            else:
                yield number, self.arrays()[f"{number}/{entry if entry >= 0 else -1 - entry}"], entry < 0
