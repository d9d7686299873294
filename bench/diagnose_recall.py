"""How well `lastbit diagnose` names mistakes: recall, precision and time, printed as tables.

    python bench/diagnose_recall.py [--convolutions] [--pairs 2000] [--triples 600] [--every-pair] [--processes 2]

Every catalogued mistake, pairs and triples of them are injected into dense layers (with --convolutions: into
CONV_2D and DEPTHWISE_CONV_2D, which are given whole images) of shared/models and random ones, in
the arithmetic of every runtime in turn, and the output is diagnosed without telling the runtime. An injected set counts
as found where the first answer is this very set, or one that prints the same on fresh inputs (of which many lie at
rounding ties), or where the answer is "a constant with too few digits or bits, one of these" and the injected one is
among them (a column of its own). Layers are per-tensor and per-channel in turn. Left out are sets of which a part, in
some runtime's arithmetic, prints the same array: nothing in the array tells of the rest. Times are of CPU.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

# The processes take the cores; what a single diagnosis takes is told for one core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import lastbit
from lastbit.layers.mistakes import MISTAKES, Mistake, applicable, wrong_output
from lastbit.model.errors import UnsupportedError
from lastbit.model.graph import Model
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.dense.eight_bit import PreparedDense
from lastbit.ops.prepare import prepare_operator
from lastbit.ops.products.as_dense import as_dense
from lastbit.runtimes import RUNTIMES
from lastbit.verbs.diagnose.separate import outputs, trial_inputs
from lastbit.verbs.diagnose.target import Reproduction
from lastbit.verbs.diagnose.verb import diagnose

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from lab.cases.operators import Case, Operand  # noqa: E402

MODELS = (ROOT / "src" / "lastbit" / "data", ROOT.parent / "shared" / "models")
ROWS = 192
NOTHING = "nothing to find"
MOST_PUBLIC = 12
FOUND = ("named", "the same function", "one of these")
LAYOUTS = ("output_column_major", "output_channels_first")


@dataclass(frozen=True)
class Layer:
    """A layer to make mistakes in: a model and an operator."""

    name: str
    model: Model
    op: int


def random_model(seed: int) -> Model:
    """A dense layer with random numbers; kinds of scales, zero points and activations in turn."""
    rng = np.random.default_rng([9, seed])
    per_channel = seed % 2 == 0
    units, depth = int(rng.choice([4, 10, 16, 32])), int(rng.choice([9, 25, 48, 130]))
    kind = ("plain", "power_of_two", "half_integer")[seed // 2 % 3]
    channels = units if per_channel else 1
    if kind == "plain":
        sx, sw = float(rng.uniform(0.01, 0.1)), rng.uniform(0.002, 0.02, channels)
    elif kind == "power_of_two":
        sx, sw = 2.0 ** -int(rng.integers(3, 7)), 2.0 ** -rng.integers(5, 9, channels).astype(float)
    else:
        sx, sw = 2.0**-5, rng.integers(1, 60, channels) * 2.0**-12
    sy = sx * float(np.median(sw)) * 74.0 * 74.0 * np.sqrt(depth) / 60 * float(rng.uniform(0.6, 1.5))
    sy = 2.0 ** np.round(np.log2(sy)) if kind != "plain" else sy
    zw = int(rng.integers(-20, 20)) if seed % 7 == 3 and not per_channel else 0
    bias = rng.integers(-4000, 4000, units) if seed % 5 else None
    graph = dense_subgraph(
        rng.integers(-127, 128, (units, depth)).astype(np.int8),
        input_quant=quant(sx, int(rng.choice([-128, -5, 17, 90]))),
        weights_quant=quant(sw, zw),
        output_quant=quant(sy, int(rng.choice([-128, -11, 4, 60]))),
        bias=bias,
        activation=("NONE", "NONE", "RELU", "RELU6")[seed % 4],
    )
    return lastbit.load(write(graph))


def random_convolution(seed: int) -> Model:
    """A convolution with random numbers; kernels, strides, dilations, paddings and groups in turn."""
    rng = np.random.default_rng([10, seed])
    depthwise, per_channel, dtype = seed % 3 == 2, seed % 2 == 0, "uint8" if seed % 8 == 7 else "int8"
    kernel = ((3, 3), (1, 1), (5, 5), (3, 3), (2, 3), (1, 7))[seed // 2 % 6]
    stride, dilation = ((1, 1), (2, 1), (1, 2))[seed % 3]
    image, channels = [int(n) for n in rng.integers(8, 13, 2)], int(rng.choice([3, 4, 8]))
    units = channels * int(rng.choice([1, 2])) if depthwise else int(rng.choice([4, 8, 12]))
    same = seed % 4 != 1
    shape = (1, *kernel, units) if depthwise else (units, *kernel, channels)
    zero = 128 if dtype == "uint8" else 0
    sx, sw = float(rng.uniform(0.01, 0.1)), rng.uniform(0.002, 0.02, units if per_channel and not zero else 1)
    taps = kernel[0] * kernel[1] * (1 if depthwise else channels)
    sy = sx * float(np.median(sw)) * 74.0 * 74.0 * np.sqrt(taps) / 60 * float(rng.uniform(0.6, 1.5))
    outputs = [
        -(-n // stride) if same else (n - (k - 1) * dilation - 1) // stride + 1
        for n, k in zip(image, kernel, strict=True)
    ]
    weights = rng.integers(-127 + zero, 128 + zero, shape)
    zx, zy, zw = (int(rng.choice(z)) + zero for z in ((-128, -5, 17, 90), (-128, -11, 4, 60), (0, -7)))
    case = Case(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        [
            Operand((1, *image, channels), dtype, sx, zx),
            Operand(shape, dtype, sw, zw if zero else 0, weights, 3 if depthwise else 0),
            Operand((units,), "int32", np.float32(sx) * sw.astype(np.float32), 0, rng.integers(-4000, 4000, units)),
        ],
        [Operand((1, *outputs, units), dtype, sy, zy)],
        [],
        {
            "padding": "SAME" if same else "VALID",
            "stride_h": stride,
            "stride_w": stride,
            "dilation_h_factor": dilation,
            "dilation_w_factor": dilation,
            "fused_activation_function": ("NONE", "NONE", "RELU", "RELU6")[seed % 4],
            **({"depth_multiplier": units // channels} if depthwise else {}),
        },
        2 if zero else 3,
    )
    return lastbit.load(case.content())


def convolutions() -> list[Layer]:
    """Convolutions of public models, then random ones."""
    found = []
    for path in sorted(path for folder in MODELS for path in folder.glob("*.tflite")):
        try:
            model = lastbit.load(path)
        except lastbit.ModelError:
            continue
        for op in model.operators:
            if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D") and np.prod(model.tensors[op.outputs[0]].shape) <= 2**14:
                layer = Layer(f"{path.stem} operator {op.index}", model, op.index)
                if any(prepared(layer, name) is not None for name in RUNTIMES):
                    found.append(layer)
    step = max(len(found) // MOST_PUBLIC, 1)  # a network's layers are much alike
    return found[::step] + [Layer(f"random convolution {seed}", random_convolution(seed), 0) for seed in range(36)]


@lru_cache
def layers() -> list[Layer]:
    """The layers of public models, then random ones."""
    if "--convolutions" in sys.argv:
        return convolutions()
    found = []
    for path in sorted(path for folder in MODELS for path in folder.glob("*.tflite")):
        try:
            model = lastbit.load(path)
        except lastbit.ModelError:
            continue  # one of them is malformed on purpose
        for op in model.dense_operators:
            weights = model.operand(op, 1)
            if weights is None or weights.data is None or weights.data.size > 2**17:
                continue
            # A file may give no shape of an input between layers.
            if np.prod(model.tensors[op.inputs[0]].shape) % weights.shape[-1] == 0:
                layer = Layer(f"{path.stem} operator {op.index}", model, op.index)
                if any(prepared(layer, name) is not None for name in RUNTIMES):
                    found.append(layer)
    return found + [Layer(f"random {seed}", random_model(seed), 0) for seed in range(24)]


def prepared(layer: Layer, runtime: str) -> PreparedDense | None:
    """The layer in a runtime's arithmetic, None where it refuses it."""
    try:
        entry = prepare_operator(layer.model, layer.model.operators[layer.op], runtime)
    except UnsupportedError:
        return None
    entry = as_dense(entry)
    return entry if isinstance(entry, PreparedDense) else None


def in_shape(entry: PreparedDense, rows: np.ndarray) -> np.ndarray:
    """Rows in the layer's input shape, as many as fill it; images as they are."""
    if rows.ndim == 4:
        return rows
    shape = entry.layer.input.shape[1:]
    each = int(np.prod(shape)) // entry.layer.depth if shape else 1
    if each == 0 or int(np.prod(shape)) % entry.layer.depth:
        return rows
    return rows[: len(rows) // each * each].reshape(-1, *shape)


@cache
def inputs(layer_index: int, fresh: bool) -> np.ndarray:
    """The rows that a layer is diagnosed on, or others to compare answers with."""
    layer = layers()[layer_index]
    entry = next(e for e in (prepared(layer, name) for name in RUNTIMES) if e is not None)
    rng = np.random.default_rng([layer_index, fresh])
    rows = trial_inputs(entry.layer, rng, 512 if fresh else 90)
    rows = rows[rng.permutation(len(rows))]
    return rows if fresh else rows[:ROWS]


@dataclass(frozen=True)
class Job:
    """One set of mistakes in one layer and runtime."""

    layer: int
    runtime: str
    mistakes: tuple[str, ...]


def run(alternatives: Sequence[Job]) -> tuple[str, float, Job, tuple[str, ...]]:
    """Inject at the first of these places where there is something to find: (outcome, seconds, job, answer)."""
    judged = (judge(job) for job in alternatives)
    return next((found for found in judged if found[0] != NOTHING), (NOTHING, 0.0, alternatives[0], ()))


def judge(job: Job) -> tuple[str, float, Job, tuple[str, ...]]:
    """Inject, diagnose, judge: (outcome, seconds, job, answer)."""
    layer = layers()[job.layer]
    entry = prepared(layer, job.runtime)
    assert entry is not None
    x = in_shape(entry, inputs(job.layer, False))
    wrong = wrong_output(entry, x, job.mistakes)
    everywhere = [e for e in (prepared(layer, name) for name in RUNTIMES) if e is not None]
    smaller = (part for size in range(len(job.mistakes)) for part in itertools.combinations(job.mistakes, size))
    if any(np.array_equal(wrong, wrong_output(e, x, part)) for part in smaller for e in everywhere):
        return NOTHING, 0.0, job, ()
    start = time.process_time()
    report = diagnose(layer.model, {layer.model.operators[layer.op].inputs[0]: x}, wrong, layer.op)
    seconds = time.process_time() - start
    answer = report.explanation
    if answer is None:
        return "missed", seconds, job, ()
    if not job.mistakes:
        return ("right" if not answer.mistakes else "false alarm"), seconds, job, answer.mistakes
    if set(answer.mistakes) == set(job.mistakes):
        return "named", seconds, job, answer.mistakes
    fresh = inputs(job.layer, True)
    injected = Reproduction(job.mistakes, (job.runtime,), entry)
    if job.runtime in answer.runtimes:  # it is among what was answered, though another may come first
        answer = Reproduction(answer.mistakes, (job.runtime,), entry)
    same_layout = all((name in answer.mistakes) == (name in job.mistakes) for name in LAYOUTS)
    if same_layout and np.array_equal(outputs(fresh, answer, False), outputs(fresh, injected, False)):
        return "the same function", seconds, job, answer.mistakes
    for member in report.one_of:
        names = (set(answer.mistakes) - {report.one_of[0].name}) | {member.name}
        one = Reproduction(tuple(name for name in MISTAKES if name in names), (job.runtime,), entry)
        if names == set(job.mistakes) or np.array_equal(outputs(fresh, one, False), outputs(fresh, injected, False)):
            return "one of these", seconds, job, answer.mistakes
    if any(set(e.mistakes) == set(job.mistakes) for e in report.explanations):
        return "told as a tie", seconds, job, answer.mistakes
    return "another that fits", seconds, job, answer.mistakes


def per_channel(job: Job) -> bool:
    """Whether the job's layer has a scale for each unit."""
    layer = layers()[job.layer]
    weights = layer.model.operand(layer.model.operators[layer.op], 1)
    assert weights is not None
    assert weights.quant is not None
    return weights.quant.per_channel


def share(found: Counter[bool]) -> str:
    """How many of all were found."""
    return f"{100 * found[True] / max(found.total(), 1):.1f} %"


@dataclass(frozen=True)
class Place:
    """A layer in a runtime, and the mistakes that can be made there."""

    layer: int
    runtime: str
    usable: tuple[Mistake, ...]

    def job(self, mistakes: Iterable[Mistake]) -> Job:
        """These mistakes made here."""
        ordered = sorted(mistakes, key=list(MISTAKES.values()).index)
        return Job(self.layer, self.runtime, tuple(m.name for m in ordered))


def places() -> dict[bool, list[Place]]:
    """Per-tensor (False) and per-channel (True) layers in every runtime that runs them."""
    found: dict[bool, list[Place]] = {False: [], True: []}
    for index, layer in enumerate(layers()):
        for name in RUNTIMES:
            entry = prepared(layer, name)
            if entry is not None:
                place = Place(index, name, tuple(applicable(entry, images="--convolutions" in sys.argv, families=True)))
                found[per_channel(place.job(()))].append(place)
    return found


def jobs(args: argparse.Namespace) -> dict[str, list[tuple[Job, ...]]]:
    """What is run: right outputs, singles, pairs, triples; per-tensor and per-channel layers in turn.

    Each is made at one place, but every pair at up to `--places`, until one shows both mistakes.
    """
    rng = np.random.default_rng(args.seed)
    everywhere = places()

    def some(kind: bool, needed: Iterable[Mistake] = ()) -> Place | None:
        fitting = [p for p in everywhere[kind] if set(needed) <= set(p.usable)] if needed else everywhere[kind]
        return fitting[int(rng.integers(len(fitting)))] if fitting else None

    def made_with(number: int, chosen: set[Mistake]) -> Job | None:
        place = some(bool(number % 2), chosen) or some(not number % 2, chosen)
        return None if place is None else place.job(chosen)

    made: dict[str, list[tuple[Job, ...]]] = {}
    right = (some(bool(number % 2)) for number in range(args.right))
    made["none"] = [(place.job(()),) for place in right if place is not None]
    made["1"] = []
    for number in range(args.singles):
        mistake = list(MISTAKES.values())[number % len(MISTAKES)]
        job = made_with(number // len(MISTAKES), {mistake})
        made["1"] += [] if job is None else [(job,)]
    for size, count in ((2, args.pairs), (3, args.triples)):
        chosen: list[tuple[Job, ...]] = []
        if size == 2 and args.every_pair:
            some_of_all = [m for m in MISTAKES.values() if not m.alone]
            every = [set(p) for p in itertools.combinations(some_of_all, 2) if p[0].slot != p[1].slot]
            tried = ([made_with(number + k, pair) for k in range(args.places)] for number, pair in enumerate(every))
            chosen = [there for jobs in tried if (there := tuple(job for job in jobs if job is not None))]
            print(f"{len(every):,} pairs of mistakes in different places; {len(chosen):,} have a layer for both")
        while len(chosen) < count:
            place = some(bool(len(chosen) % 2))
            assert place is not None
            usable = [m for m in place.usable if not m.alone]  # those of families are searched alone
            picked = [usable[int(k)] for k in rng.permutation(len(usable))[:size]]
            if len({m.slot for m in picked}) == size:
                chosen.append((place.job(picked),))
        made[str(size)] = chosen
    # By layer, since inputs are made once for each.
    return {size: sorted(chosen, key=lambda jobs: jobs[0].layer) for size, chosen in made.items()}


def speed() -> list[str]:
    """Seconds of one core for a layer of 128 units and depth 640, 64 rows."""
    rng = np.random.default_rng(1)
    graph = dense_subgraph(
        rng.integers(-127, 128, (128, 640)).astype(np.int8),
        input_quant=quant(0.021, 3),
        weights_quant=quant(rng.uniform(0.002, 0.01, 128)),
        output_quant=quant(0.41, -5),
        bias=rng.integers(-9000, 9000, 128),
    )
    model = lastbit.load(write(graph))
    x = rng.integers(-128, 128, (64, 640)).astype(np.int8)
    entry = prepare_operator(model, model.operators[0], "litert-reference")
    assert isinstance(entry, PreparedDense)
    lines = ["| injected into a layer of 128x640, 64 rows | median | largest |", "|---|---:|---:|"]
    for size, count in ((1, 30), (2, 20), (3, 10)):
        seconds = []
        while len(seconds) < count:
            usable = applicable(entry)
            picked = [usable[int(k)] for k in rng.permutation(len(usable))[:size]]
            if len({m.slot for m in picked}) != size:
                continue
            wrong = wrong_output(entry, x, [m.name for m in picked])
            start = time.process_time()
            diagnose(model, x, wrong)
            seconds.append(time.process_time() - start)
        lines.append(f"| {size} | {np.median(seconds):.2f} s | {max(seconds):.2f} s |")
    return lines


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--right", type=int, default=600, help="right outputs, in which nothing is to be found")
    parser.add_argument("--convolutions", action="store_true", help="into convolutions, not dense layers")
    parser.add_argument("--singles", type=int, default=1500)
    parser.add_argument("--pairs", type=int, default=1500)
    parser.add_argument("--triples", type=int, default=400)
    parser.add_argument("--every-pair", action="store_true", help="every pair there is, once, before random ones")
    parser.add_argument("--places", type=int, default=8, help="where every pair is tried until it shows")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--only-speed", action="store_true")
    parser.add_argument(
        "--failures", type=int, default=0, metavar="N", help="print the last N that were not found, and the slowest"
    )
    args = parser.parse_args()
    if args.only_speed:
        print("\n".join(speed()))
        return
    work = jobs(args)
    print(f"{len(layers())} layers, {len(RUNTIMES)} runtimes, {len(MISTAKES)} mistakes, {ROWS} rows, seed {args.seed}")
    print(
        "| injected | tried | found | per-tensor | per-channel | named exactly | the same function | one of these "
        "| a tie, told | fits, other | missed | largest time |"
    )
    print("|---" + "|---:" * 11 + "|")
    failures: dict[str, list[str]] = defaultdict(list)
    with ProcessPoolExecutor(args.processes) as pool:
        for size, chosen in work.items():
            outcomes: Counter[str] = Counter()
            kinds: dict[bool, Counter[bool]] = {False: Counter(), True: Counter()}
            longest, slowest = 0.0, ""
            for outcome, seconds, job, answer in pool.map(run, chosen, chunksize=4):
                outcomes[outcome] += 1
                what = f"{layers()[job.layer].name}, {job.runtime}: {job.mistakes} -> {answer}"
                if seconds > longest:
                    longest, slowest = seconds, what
                if outcome != NOTHING:
                    kinds[per_channel(job)][outcome in FOUND] += 1
                if outcome not in (*FOUND, NOTHING, "right"):
                    failures[size].append(f"{outcome}: {what}")
            failures[size].append(f"slowest, {longest:.1f} s: {slowest}")
            tried = sum(outcomes.values()) - outcomes[NOTHING]
            if size == "none":
                print(
                    f"| nothing | {tried} | {outcomes['right']} right, {outcomes['false alarm']} false alarms |||||||||"
                    f" {longest:.1f} s |"
                )
                continue
            found = sum(outcomes[key] for key in FOUND)
            rest = " | ".join(str(outcomes[key]) for key in (*FOUND, "told as a tie", "another that fits", "missed"))
            each = " | ".join(f"{share(kinds[kind])} of {kinds[kind].total()}" for kind in (False, True))
            print(f"| {size} | {tried} | {100 * found / max(tried, 1):.1f} % | {each} | {rest} | {longest:.1f} s |")
            sys.stdout.flush()
    for size, lines in failures.items():
        for line in lines[-args.failures :] if args.failures else []:
            print(f"{size}: {line}", file=sys.stderr)
    if not args.no_speed:
        print("\n".join(speed()))


if __name__ == "__main__":
    main()
