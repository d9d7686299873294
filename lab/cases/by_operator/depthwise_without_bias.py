"""Cases of DEPTHWISE_CONV_2D that have two inputs: the file names no bias.

LiteRT's int16 and reference kernels take them; its optimized kernels of other types crash. A third input that is named
and absent is refused by all: lab/cases/convolutions.py has such cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lab.cases.convolutions import convolutions
from lab.cases.operators import Case, Count

__all__ = ["operator_cases"]


def operator_cases(seed: int, count: Count) -> Iterator[Case]:
    """int16 alone: where the others crash, the interpreter starts again for each case.

    The scales of the weights are smaller than those of the cases with a bias, which keeps their sums from saturating.
    """
    rng = np.random.default_rng([seed, 113])
    for case in convolutions(rng, count(60), "int16"):
        if case.op != "DEPTHWISE_CONV_2D":
            continue
        given, weights = case.inputs[:2]
        assert weights is not None
        assert weights.scale is not None
        smaller = replace(weights, scale=weights.scale / np.float32(2.0 ** int(rng.integers(3, 11))))
        yield replace(case, inputs=[given, smaller])
