"""Whole convolutional models beside the real LiteRT: the same model and data, interleaved, one thread, ratios.

    python bench/models.py [--batch N] [--rounds N] [MODEL.tflite ...]

For each model: LiteRT's default Interpreter through its Python API (one batch a call where the model can be resized,
and sample by sample; the faster counts), LastBit's `jit` engine in each runtime's arithmetic, and its `numpy` engine.
Prints the median CPU time of a batch (one thread; other work on the machine does not count), the ratio LiteRT / LastBit
(above 1: LastBit is faster), and the memory that NumPy takes for a batch beyond what was there before. The outputs of
the default runtime are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

# Before NumPy is imported: one thread for everybody.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from ai_edge_litert.interpreter import Interpreter  # noqa: E402
from memory import DEFAULT, MODELS  # noqa: E402

import lastbit  # noqa: E402
from lastbit.engines.executable import Executable  # noqa: E402
from lastbit.ops.prepare import prepare  # noqa: E402
from lastbit.oracles import on_this_machine  # noqa: E402


def litert_batch(content: bytes, x: np.ndarray) -> Callable[[], np.ndarray]:
    """One call for the whole batch."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(given, x.shape)
    interpreter.allocate_tensors()

    def run() -> np.ndarray:
        interpreter.set_tensor(given, x)
        interpreter.invoke()
        return interpreter.get_tensor(made)

    return run


def litert_samples(content: bytes, x: np.ndarray) -> Callable[[], np.ndarray]:
    """One call for each sample."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run() -> np.ndarray:
        outputs = []
        for sample in x:
            interpreter.set_tensor(given, sample[None])
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(made))
        return np.concatenate(outputs)

    return run


def measure(path: Path, batch: int, rounds: int) -> None:
    """Print one model's table."""
    model = lastbit.load(path)
    tensor = model.inputs[0]
    rng = np.random.default_rng(0)
    x = rng.integers(
        tensor.dtype.qmin, tensor.dtype.qmax, (batch, *tensor.shape[1:]), tensor.dtype.numpy, endpoint=True
    )
    default = on_this_machine("litert-xnnpack")
    runs: dict[str, Callable[[], np.ndarray]] = {}
    for name, make in (("LiteRT, one batch a call", litert_batch), ("LiteRT, sample by sample", litert_samples)):
        try:
            run = make(model.content, x)
            run()
        except (RuntimeError, ValueError) as error:
            print(f"  {name}: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        runs[name] = run
    peers = list(runs)
    if not peers:
        print(f"{path.stem}: LiteRT does not run it, so there is nothing to compare with")
        return
    engines = [
        (f"LastBit jit, {runtime}", runtime, "jit")
        for runtime in (default, "litert-builtin-x86", "litert-reference", "tflm")
    ]
    for name, runtime, engine in [*engines, (f"LastBit numpy, {default}", default, "numpy")]:
        prepared = prepare(model, runtime)
        if not prepared.refusals:
            executable = Executable(prepared, engine)
            runs[name] = lambda executable=executable: executable(x)
    memory = {}
    for name, run in runs.items():
        tracemalloc.start()
        outputs = run()  # compiles, too
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        run()
        memory[name] = (tracemalloc.get_traced_memory()[1] - before) / 2**20
        tracemalloc.stop()
        if name == f"LastBit jit, {default}":
            same = np.array_equal(outputs, runs[peers[-1]]())
            print(f"{path.stem}: batch {batch}, outputs {'equal' if same else 'NOT EQUAL'}")
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            if name.startswith("LastBit numpy") and number >= 3:
                continue
            start = time.process_time()
            run()
            times[name].append(time.process_time() - start)
    medians = {name: statistics.median(found) for name, found in times.items()}
    peer = min(medians[name] for name in peers)
    print(f"  {'':42} {'CPU ms':>10} {'LiteRT / this':>14} {'MiB':>7}")
    for name, median in medians.items():
        taken = "" if name in peers else f"{memory[name]:7.1f}"
        print(f"  {name:42} {1e3 * median:10.1f} {peer / median:14.2f} {taken:>7}")


def main() -> None:
    """Measure the models named, or five of shared/models: ResNet8, DS-CNN, MobileNet V1 0.25 and 0.5, V2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("models", nargs="*", type=Path)
    options = parser.parse_args()
    for path in options.models or [MODELS / f"{name}.tflite" for name in DEFAULT]:
        measure(path, options.batch, options.rounds)


if __name__ == "__main__":
    main()
