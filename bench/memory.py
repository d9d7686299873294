"""The memory that a model takes while it runs: LastBit's compiled engine beside LiteRT, each in a process of its own.

    python bench/memory.py [--batch N] [--runtime NAME] [MODEL.tflite ...]

A figure is the peak of the process's resident memory, from loading the file to the second batch's outputs, less what
was there before. It counts all: pages of the libraries that are touched for the first time, the file, compiled code
(from the disk: the model runs once before, so that nothing is compiled). What was there before is the imported library
and the input; or, in the columns `used before`, also what another, small model has left behind. LiteRT gets one batch a
call, or one sample where it takes no batch.
Linux only.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

MODELS = Path(__file__).parents[2] / "shared" / "models"
DEFAULT = (
    "mlt_resnet8_quant",
    "mlt_kws_ref",
    "more/mlt_vww96_int8",
    "more/coral_mobilenet_v1_05_160_u8",
    "more/tflm_mobilenet_v2_int8",
)
SMALL = MODELS / "forum_dense_per_channel.tflite"
Run = Callable[[], object]


def memory() -> dict[str, float]:
    """MiB of this process: VmRSS, VmHWM (the peak), RssAnon, RssFile and others."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(":") for line in lines if line.startswith(("Vm", "Rss")))
    return {name: int(value.split()[0]) / 1024 for name, value in pairs}


def lastbit_run(path: Path, x: np.ndarray, runtime: str) -> Run:
    """Load, prepare and pack a model."""
    import lastbit

    executable = lastbit.build(lastbit.load(path), runtime, engine="jit")
    return lambda: executable(x)


def litert_run(path: Path, x: np.ndarray, _runtime: str) -> Run:
    """The same with LiteRT: one batch a call, or one sample."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    given = interpreter.get_input_details()[0]["index"]
    made = interpreter.get_output_details()[0]["index"]
    samples = [x]
    try:
        if len(x) > 1:
            interpreter.resize_tensor_input(given, x.shape)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError):
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
        samples = list(x[:, None])

    def run() -> list[np.ndarray]:
        outputs = []
        for sample in samples:
            interpreter.set_tensor(given, sample)
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(made))
        return outputs

    return run


RUNS = {"lastbit": lastbit_run, "litert": litert_run}


def random_input(shape: list[int], kind: str) -> np.ndarray:
    """Values of every size."""
    rng, dtype = np.random.default_rng(0), np.dtype(kind)
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    ends = np.iinfo(dtype)
    return rng.integers(ends.min, ends.max, shape, dtype, endpoint=True)


def worker(task: dict[str, object]) -> None:
    """Print the figures of one process, as JSON."""
    name, path, runtime = str(task["who"]), Path(str(task["path"])), str(task["runtime"])
    if name == "lastbit":
        import lastbit.engines.jit.backend
        import lastbit.engines.jit.kernels  # noqa: F401
    else:
        import ai_edge_litert.interpreter  # noqa: F401
    x = random_input(task["shape"], str(task["kind"]))  # type: ignore[arg-type]
    if task["used"]:
        RUNS[name](SMALL, random_input([1, 16, 48], "int8"), runtime)()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = memory()
    run = RUNS[name](path, x, runtime)
    run()
    run()
    print(json.dumps({"peak": memory()["VmHWM"] - before["VmRSS"]}))


def ask(who: str, path: Path, shape: list[int], kind: str, runtime: str, *, used: bool = False) -> float:
    """The peak of one process in MiB."""
    task = {"who": who, "path": str(path), "shape": shape, "kind": kind, "runtime": runtime, "used": used}
    command = [sys.executable, __file__, "--worker", json.dumps(task)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(json.loads(answer.splitlines()[-1])["peak"])


def main() -> None:
    """Print one line for each model and batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, action="append", help="may be given again; 1 and 256 by default")
    parser.add_argument("--runtime", default="")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    parser.add_argument("models", nargs="*", type=Path)
    options = parser.parse_args()
    if options.worker:
        worker(json.loads(options.worker))
        return
    import lastbit
    from lastbit.oracles import on_this_machine

    runtime = options.runtime or on_this_machine("litert-xnnpack")
    print("| network | batch | LiteRT | LastBit | ratio | LiteRT, used before | LastBit, used before | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for path in options.models or [MODELS / f"{name}.tflite" for name in DEFAULT]:
        tensor = lastbit.load(path).inputs[0]
        kind = str(np.dtype(tensor.dtype.numpy))
        for batch in options.batch or [1, 256]:
            shape = [batch, *tensor.shape[1:]]
            ask("lastbit", path, shape, kind, runtime)  # compiles
            cells = []
            for used in (False, True):
                peer, own = (ask(who, path, shape, kind, runtime, used=used) for who in ("litert", "lastbit"))
                cells += [f"{peer:.1f}", f"{own:.1f}", f"{own / peer:.2f}"]
            print(f"| {path.stem} | {batch} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
