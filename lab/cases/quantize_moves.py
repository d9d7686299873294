"""Small float models of RESHAPEs, TRANSPOSEs and what stands beside them: what the converter's optimizer makes of each.

Each model is one line: its name and its operators behind a first one. Beside them stand random chains, in which the
order decides in which the optimizer looks at operators. `lab/checks/quantize_check.py moves FOLDER` writes them, for
lab/checks/quantize_oracle.py to quantize with each version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lab.cases.quantize_maker import INT32, Maker
from lab.cases.quantize_models import drop_unused, with_ranges
from lastbit.model.graph import Subgraph
from lastbit.model.tflite.writer import write

Shape = tuple[int, ...]
Step = Callable[["Chain"], int]


class Chain:
    """Operators one behind the other; `last` is the newest tensor."""

    def __init__(self, shape: Shape, first: str | None = "LEAKY_RELU") -> None:
        self.make = Maker(1, 0)
        self.last = self.make.tensor(shape)
        self.make.inputs.append(self.last)
        if first is not None:
            options = {"alpha": 0.125} if first == "LEAKY_RELU" else {}
            self.last = self.make.op(first, [self.last], [shape], **options)

    @property
    def shape(self) -> Shape:
        """Of the newest tensor."""
        return self.make.tensors[self.last].shape

    def put(self, name: str, shape: Shape, *constants: Any, code: int = INT32, **options: Any) -> int:
        """An operator that reads the newest tensor and constants."""
        inputs = [self.last, *(self.make.constant(np.asarray(c), code) for c in constants)]
        self.last = self.make.op(name, inputs, [shape], **options)
        return self.last

    def content(self, outputs: list[int]) -> bytes:
        """The file with its ranges."""
        make = self.make
        graph = Subgraph("main", tuple(make.tensors), tuple(make.operators), tuple(make.inputs), tuple(outputs))
        graph, ranges = drop_unused(graph, make.ranges)
        return with_ranges(write(graph, "moves"), ranges)


def r(*shape: int) -> Step:
    """RESHAPE."""
    return lambda c: c.put("RESHAPE", shape, np.array(shape), new_shape=shape)


def t(*order: int) -> Step:
    """TRANSPOSE."""
    return lambda c: c.put("TRANSPOSE", tuple(c.shape[i] for i in order), np.array(order))


def squeeze(axis: int) -> Step:
    """SQUEEZE."""
    return lambda c: c.put("SQUEEZE", (*c.shape[:axis], *c.shape[axis + 1 :]), squeeze_dims=(axis,))


def expand(axis: int) -> Step:
    """EXPAND_DIMS."""
    return lambda c: c.put("EXPAND_DIMS", (*c.shape[:axis], 1, *c.shape[axis:]), np.int32(axis))


def fc(units: int, act: str = "NONE", *, bias: bool = True, keep: bool = False) -> Step:
    """FULLY_CONNECTED."""

    def step(c: Chain) -> int:
        make, lead = c.make, c.shape[:-1]
        weights = make.constant(make.rng.normal(size=(units, c.shape[-1])).astype(np.float32))
        added = make.constant(make.rng.normal(size=units).astype(np.float32)) if bias else -1
        options: dict[str, Any] = {"fused_activation_function": act, **({"keep_num_dims": True} if keep else {})}
        shape = (*lead, units) if keep else (int(np.prod(lead)), units)
        c.last = make.op("FULLY_CONNECTED", [c.last, weights, added], [shape], **options)
        return c.last

    return step


def tconv(units: int, *, bias: float | None = 1.0, code: str = "NONE") -> Step:
    """TRANSPOSE_CONV of 2 x 2 taps and stride 2; a large bias does not fit."""

    def step(c: Chain) -> int:
        make, (count, height, width, depth) = c.make, c.shape
        shape = (count, 2 * height, 2 * width, units)
        weights = make.constant(make.rng.normal(size=(units, 2, 2, depth)).astype(np.float32))
        inputs = [make.constant(np.array(shape), INT32), weights, c.last]
        inputs += [] if bias is None else [make.constant((make.rng.normal(size=units) * bias).astype(np.float32))]
        options = {"padding": "SAME", "stride_h": 2, "stride_w": 2, "fused_activation_function": code}
        c.last = make.op("TRANSPOSE_CONV", inputs, [shape], **options)
        return c.last

    return step


def to_batch(c: Chain) -> int:
    """SPACE_TO_BATCH_ND in blocks of 2 x 2."""
    count, height, width, depth = c.shape
    shape = (4 * count, (height + 2) // 2, width // 2, depth)
    return c.put("SPACE_TO_BATCH_ND", shape, np.array([2, 2]), np.array([[1, 1], [0, 0]]))


def to_space(c: Chain) -> int:
    """BATCH_TO_SPACE_ND, the way back."""
    count, height, width, depth = c.shape
    shape = (count // 4, 2 * height - 2, 2 * width, depth)
    return c.put("BATCH_TO_SPACE_ND", shape, np.array([2, 2]), np.array([[1, 1], [0, 0]]))


def gather(axis: int, *rows: int) -> Step:
    """GATHER of some rows."""
    return lambda c: c.put(
        "GATHER", (*c.shape[:axis], len(rows), *c.shape[axis + 1 :]), np.array(rows), axis=axis, batch_dims=0
    )


def mm(*second: int) -> Step:
    """BATCH_MATMUL with a constant."""

    def step(c: Chain) -> int:
        weights = c.make.constant(c.make.rng.normal(size=second).astype(np.float32))
        c.last = c.make.op("BATCH_MATMUL", [c.last, weights], [(*c.shape[:-1], second[-1])])
        return c.last

    return step


def square(c: Chain) -> int:
    """BATCH_MATMUL of a tensor with itself transposed."""
    c.last = c.make.op("BATCH_MATMUL", [c.last, c.last], [(*c.shape[:-1], c.shape[-2])], adj_y=True)
    return c.last


def times_transposed(c: Chain) -> int:
    """BATCH_MATMUL of a tensor with its TRANSPOSE."""
    before = c.last
    moved = t(0, 2, 1)(c)
    c.last = c.make.op("BATCH_MATMUL", [before, moved], [(1, 2, 2)])
    return c.last


def conv(side: int, pads: tuple[tuple[int, int], tuple[int, int]], stride: int, depthwise: bool = False) -> Step:
    """PAD and a convolution without padding of its own."""

    def step(c: Chain) -> int:
        (count, height, width, depth), (rows, columns) = c.shape, pads
        table = np.array([(0, 0), rows, columns, (0, 0)])
        c.put("PAD", (count, height + sum(rows), width + sum(columns), depth), table)
        make, out = c.make, depth if depthwise else 3
        shape = (1, side, side, out) if depthwise else (out, side, side, depth)
        constants = [make.constant(make.rng.normal(size=size).astype(np.float32)) for size in (shape, out)]
        options: dict[str, Any] = {"padding": "VALID", "stride_h": stride, "stride_w": stride}
        options |= {"fused_activation_function": "NONE", **({"depth_multiplier": 1} if depthwise else {})}
        height, width = ((size - side) // stride + 1 for size in c.shape[1:3])
        name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        c.last = make.op(name, [c.last, *constants], [(count, height, width, out)], **options)
        return c.last

    return step


def act(name: str) -> Step:
    """An elementwise operator."""
    return lambda c: c.put(name, c.shape)


def alike(step: Step) -> Step:
    """A step whose output has the range of what it reads."""

    def changed(c: Chain) -> int:
        limits = c.make.ranges[c.last]
        made = step(c)
        c.make.ranges[made] = limits
        return made

    return changed


def also(name: str) -> Step:
    """A second user of the newest tensor, which is an output too."""

    def step(c: Chain) -> int:
        return -c.make.op(name, [c.last], [c.shape]) - 1

    return step


ACTIVATIONS = ("TANH", "LOGISTIC", "RELU", "RELU6", "RELU_N1_TO_1")
MODELS: dict[str, tuple[Shape, list[Step]]] = {
    "reshape-fc": ((3, 1, 4), [r(3, 4), fc(5)]),
    "squeeze-fc": ((3, 1, 4), [squeeze(1), fc(5)]),
    "expand-fc": ((8,), [expand(0), fc(5)]),
    "reshape-up-fc": ((3, 4), [r(1, 3, 4), fc(5)]),
    "reshape-same-rank-fc": ((2, 3, 4), [r(1, 6, 4), fc(5)]),
    "reshape-down-fc": ((1, 2, 3, 4), [r(2, 3, 4), fc(5)]),
    "r-fc-r": ((2, 3, 4), [r(6, 4), fc(5), r(2, 3, 5)]),
    "r-fc-relu-r": ((2, 3, 4), [r(6, 4), fc(5, "RELU"), r(2, 3, 5)]),
    "r-fc-no-bias-r": ((2, 3, 4), [r(6, 4), fc(5, bias=False), r(2, 3, 5)]),
    "r-fc-r-other": ((2, 3, 4), [r(6, 4), fc(5), r(3, 2, 5)]),
    "r-fc-r-flat": ((2, 3, 4), [r(6, 4), fc(5), r(1, 30)]),
    "r-fc-two-users": ((2, 3, 4), [r(6, 4), fc(5), also("TANH"), r(2, 3, 5)]),
    "r-two-users-fc-r": ((2, 3, 4), [r(6, 4), also("TANH"), fc(5), r(3, 2, 5)]),
    "fc-r": ((2, 3, 4), [fc(5), r(2, 3, 5)]),
    "fc-r-other": ((2, 3, 4), [fc(5), r(3, 2, 5)]),
    "fc-two-dims-r": ((3, 4), [fc(5), r(3, 1, 5)]),
    "flat-fc-r": ((1, 2, 2, 3), [r(1, 12), fc(4), r(1, 2, 2, 1)]),
    "squeeze-fc-expand": ((3, 1, 4), [squeeze(1), fc(5), expand(1)]),
    "rank-4-fc-r": ((2, 1, 3, 4), [r(6, 4), fc(5), r(3, 2, 5)]),
    "fc-keep-r": ((2, 3, 4), [fc(5, keep=True), r(6, 5)]),
    "r-fc-keep": ((1, 3, 4), [r(3, 4), fc(5, keep=True)]),
    "r-fc-keep-r": ((2, 3, 4), [r(6, 4), fc(5, keep=True), r(2, 3, 5)]),
    "r-fc-keep-r-other": ((2, 3, 4), [r(6, 4), fc(5, keep=True), r(3, 2, 5)]),
    "r-rank-4-fc-keep-r": ((2, 6, 4), [r(2, 3, 2, 4), fc(5, keep=True), r(2, 6, 5)]),
    "r-r": ((2, 3, 4), [r(6, 4), r(4, 6)]),
    "r-r-back": ((2, 3, 4), [r(6, 4), r(2, 3, 4)]),
    "r-two-users-r": ((2, 3, 4), [r(6, 4), also("TANH"), r(4, 6)]),
    "r-same": ((2, 3, 4), [r(2, 3, 4)]),
    "t-trivial": ((1, 4, 3, 1), [t(0, 1, 3, 2)]),
    "t-identity": ((2, 3, 4), [t(0, 1, 2)]),
    "t-t": ((2, 3, 4), [t(0, 2, 1), t(1, 0, 2)]),
    "t-t-back": ((2, 3, 4), [t(0, 2, 1), t(0, 2, 1)]),
    "t-two-users-t": ((2, 3, 4), [t(0, 2, 1), also("TANH"), t(1, 0, 2)]),
    **{f"r-{name}": ((1, 4, 3, 2), [alike(r(4, 6)), alike(act(name))]) for name in ACTIVATIONS},
    **{f"t-{name}": ((1, 4, 3, 2), [alike(t(0, 2, 1, 3)), alike(act(name))]) for name in ACTIVATIONS},
    **{f"r-{name}-other-scale": ((1, 4, 3, 2), [r(4, 6), act(name)]) for name in ACTIVATIONS},
    "tanh-r-tanh": ((1, 4, 3, 2), [act("TANH"), r(4, 6), act("TANH")]),
    "mm-square": ((1, 32), [r(1, 1, 32), square, r(1, 1)]),
    "mm-of-three": ((1, 32), [r(1, 1, 32), mm(1, 32, 4), r(1, 4)]),
    "mm-of-three-rows": ((2, 32), [r(1, 2, 32), mm(1, 32, 4), r(2, 4)]),
    "mm-batches": ((6, 8), [r(2, 3, 8), mm(2, 8, 4), r(6, 4)]),
    "mm-of-two": ((2, 3, 8), [r(6, 8), mm(8, 4), r(2, 3, 4)]),
    "mm-rank-4": ((1, 2, 3, 8), [r(1, 6, 8), mm(1, 8, 4), r(1, 2, 3, 4)]),
    "mm-back-to-three": ((2, 3, 8), [r(1, 6, 8), mm(1, 8, 4), r(2, 3, 4)]),
    "mm-two-users": ((1, 32), [r(1, 1, 32), mm(1, 32, 4), also("TANH"), r(1, 4)]),
    "mm-r": ((1, 2, 32), [mm(1, 32, 4), r(2, 4)]),
    "r-mm": ((1, 32), [r(1, 1, 32), mm(1, 32, 4)]),
    "t-mm": ((1, 2, 32), [t(0, 2, 1), mm(1, 2, 4)]),
    "mm-t-second": ((1, 2, 32), [times_transposed]),
    "mm-t": ((1, 2, 32), [square, t(0, 2, 1)]),
    "transpose-conv": ((1, 3, 4, 5), [tconv(6)]),
    "transpose-conv-twice": ((2, 3, 3, 3), [tconv(4), act("TANH"), tconv(2)]),
    "transpose-conv-no-bias": ((1, 3, 4, 5), [tconv(6, bias=None)]),
    "transpose-conv-one-unit": ((1, 3, 4, 5), [tconv(1, bias=1e9)]),
    "transpose-conv-bias-too-large": ((1, 3, 4, 5), [tconv(6, bias=1e12), act("RELU")]),
    "transpose-conv-relu": ((1, 3, 4, 5), [tconv(6, code="RELU")]),
    "transpose-conv-then-relu": ((1, 3, 4, 5), [tconv(6), act("RELU")]),
    "batch-and-space": ((2, 4, 6, 3), [to_batch, act("RELU6"), to_space]),
    "to-batch": ((1, 4, 6, 3), [act("LOGISTIC"), to_batch]),
    "to-space": ((4, 3, 3, 3), [to_space, act("LOGISTIC")]),
    "gather": ((4, 6), [gather(0, 2, 2, 0), fc(5)]),
    "gather-axis": ((2, 4, 6), [gather(1, 3, 0), act("TANH"), gather(2, 5)]),
    "pad-conv": ((1, 8, 8, 2), [conv(3, ((1, 1), (1, 1)), 1)]),
    "pad-conv-stride": ((1, 8, 7, 2), [conv(3, ((0, 1), (1, 1)), 2)]),
    "pad-conv-front": ((1, 8, 8, 2), [conv(3, ((1, 0), (1, 0)), 2)]),
    "pad-conv-more": ((1, 8, 8, 2), [conv(3, ((1, 1), (1, 1)), 2), act("RELU")]),
    "pad-depthwise": ((1, 8, 8, 2), [conv(3, ((0, 1), (0, 1)), 2, depthwise=True), act("RELU")]),
}


def length(c: Chain) -> int:
    """SHAPE of the newest tensor, which is an output too."""
    return -c.make.op("SHAPE", [c.last], [(len(c.shape),)], INT32, out_type="int32") - 1


def filled(*, fed: bool, computed: bool = False) -> Step:
    """ADD of a FILL in the newest tensor's size: of a value that is fed or a constant, to a size that SHAPE gives."""

    def step(c: Chain) -> int:
        make, shape = c.make, c.shape
        value = make.tensor(()) if fed else make.constant(np.float32(0.7))
        make.inputs += [value] if fed else []
        size = -length(c) - 1 if computed else make.constant(np.array(shape), INT32)
        made = make.op("FILL", [size, value], [shape])
        c.last = make.op("ADD", [c.last, made], [shape], fused_activation_function="NONE")
        return c.last

    return step


def reshaped_by_shape(c: Chain) -> int:
    """RESHAPE to the size that SHAPE gives."""
    source = c.last
    c.last = c.make.op("RESHAPE", [source, -length(c) - 1], [c.shape])
    return c.last


def pool(c: Chain) -> int:
    """MAX_POOL_2D by 2."""
    count, height, width, depth = c.shape
    options: dict[str, Any] = {"padding": "VALID", "fused_activation_function": "NONE"}
    options |= dict.fromkeys(("stride_w", "stride_h", "filter_width", "filter_height"), 2)
    return c.put("MAX_POOL_2D", (count, height // 2, width // 2, depth), **options)


# SHAPE and FILL, which random models do not have.
SHAPES: dict[str, tuple[Shape, list[Step]]] = {
    "length": ((1, 4, 4, 3), [length, act("TANH")]),
    "pool-length": ((1, 4, 4, 3), [pool, length, act("TANH")]),
    "pool-lengths": ((1, 4, 4, 3), [length, pool, act("TANH"), length]),
    "reshape-length": ((1, 4, 4, 3), [length, r(4, 12), length, act("TANH")]),
    "reshaped-by-shape": ((1, 4, 4, 3), [reshaped_by_shape, act("TANH")]),
    "filled": ((1, 4, 4, 3), [filled(fed=True)]),
    "filled-constant": ((1, 4, 4, 3), [filled(fed=False)]),
    "filled-to-shape": ((1, 4, 4, 3), [filled(fed=True, computed=True)]),
}


def models(which: dict[str, tuple[Shape, list[Step]]] = MODELS) -> Iterator[tuple[str, bytes]]:
    """Each model's name and its float file."""
    for name, (shape, steps) in which.items():
        chain = Chain(shape)
        others = [-made - 1 for step in steps if (made := step(chain)) < 0]
        yield f"moves-{name}", chain.content([chain.last, *others])


def _another_shape(rng: np.random.Generator, shape: Shape) -> Shape:
    """Another shape of as many elements, often with the same last dimension."""
    last = shape[-1] if rng.random() < 0.75 else 1
    rest = int(np.prod(shape)) // last
    parts: list[int] = []
    for _ in range(int(rng.integers(0, 3))):
        divisors = [n for n in range(1, rest + 1) if rest % n == 0]
        parts.append(int(rng.choice(divisors)))
        rest //= parts[-1]
    return (*parts, rest, last) if last > 1 else (*parts, rest)


def chains(first: int, last: int) -> Iterator[tuple[str, bytes]]:
    """Random chains of 3 to 8 dense layers, RESHAPEs and activations.

    Args:
        first: the first seed.
        last: the seed after the last one.
    """
    for seed in range(first, last):
        rng = np.random.default_rng(seed)
        shapes: tuple[Shape, ...] = ((2, 3, 4), (6, 4), (1, 2, 2, 6), (4, 1, 6), (3, 1, 4))
        chain = Chain(shapes[int(rng.integers(len(shapes)))])
        others = []
        for _ in range(int(rng.integers(3, 9))):
            kind = rng.choice(6, p=[0.4, 0.4, 0.06, 0.06, 0.04, 0.04])
            if kind == 0:
                r(*_another_shape(rng, chain.shape))(chain)
            elif kind == 1 and len(chain.shape) > 1:
                activation = str(rng.choice(["NONE", "NONE", "NONE", "RELU"]))
                bias, keep = rng.random() < 0.6, rng.random() < 0.3
                fc(int(rng.choice([4, 5, 6])), activation, bias=bias, keep=keep)(chain)
            elif kind in (2, 3):
                step = act(str(rng.choice(ACTIVATIONS)))
                (alike(step) if kind == 2 else step)(chain)
            elif kind == 4:
                others.append(-also("TANH")(chain) - 1)
            elif len(chain.shape) == 3:
                t(0, 2, 1)(chain)
        yield f"chain-{seed:03}", chain.content([chain.last, *others])
