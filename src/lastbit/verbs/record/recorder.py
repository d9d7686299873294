"""Record what an interpreter on this machine prints, tensor by tensor. LastBit is not needed here.

    python3 record.py [--kernels default|builtin|reference] [--interpreter NAME] [-o recording.npz]

Needs NumPy and one of ai-edge-litert, tflite-runtime, tensorflow or tflite-micro, whichever is found first. Beside this
file lie probe.tflite (the model with its tensors as outputs), model.tflite (as it is) and inputs.npz. Send back what it
writes, recording.npz: `lastbit verify MODEL --recorded recording.npz`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from typing import Any

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))

# Distribution, and the module that has its Interpreter.
INTERPRETERS = (
    ("ai-edge-litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite.python.interpreter"),
    ("tflite-micro", "tflite_micro.python.tflite_micro.runtime"),
)
RESOLVERS = {"default": "AUTO", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
ARENA_BYTES = 64 << 20


def find_interpreter(wanted: str) -> tuple[str, str, Any]:
    """The first interpreter that is there, or the one that is wanted: distribution, version and module."""
    for distribution, module in INTERPRETERS:
        if wanted not in ("", distribution):
            continue
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        return distribution, find_version(distribution), found
    sys.exit(
        f"record.py: found no {wanted or 'interpreter'}; install one: pip install ai-edge-litert (or tflite-runtime)"
    )


def find_version(distribution: str) -> str:
    """A distribution's version; TensorFlow has several distributions."""
    for name in (distribution, distribution + "-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return str(getattr(sys.modules.get(distribution), "__version__", "unknown"))


class LiteInterpreter:
    """An Interpreter of LiteRT or TensorFlow Lite."""

    def __init__(self, module: Any, content: bytes, kernels: str) -> None:
        if kernels == "default":
            made = module.Interpreter(model_content=content, num_threads=1)
        else:
            resolver = getattr(module.OpResolverType, RESOLVERS[kernels])
            made = module.Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)
        made.allocate_tensors()
        self._made = made

    def run(self, inputs: list[Any]) -> list[Any]:
        """All outputs for these inputs."""
        for detail, array in zip(self._made.get_input_details(), inputs):
            self._made.set_tensor(detail["index"], array)
        self._made.invoke()
        return [self._made.get_tensor(detail["index"]) for detail in self._made.get_output_details()]


class MicroInterpreter:
    """TensorFlow Lite Micro's Python interpreter, which does not say how many outputs there are."""

    def __init__(self, module: Any, content: bytes, outputs: int) -> None:
        self._made = module.Interpreter.from_bytes(content, arena_size=ARENA_BYTES)
        self._outputs = outputs

    def run(self, inputs: list[Any]) -> list[Any]:
        """All outputs for these inputs."""
        for number, array in enumerate(inputs):
            self._made.set_input(array, number)
        self._made.invoke()
        return [self._made.get_output(number) for number in range(self._outputs)]


def cpu_text() -> str:
    """What Linux says of the first core: its name or part number, and its features."""
    wanted = ("model name", "CPU implementer", "CPU part", "Features", "flags")
    found: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() in wanted:
                    found.setdefault(name.strip(), value.strip())
    except OSError:
        return platform.processor()
    return "; ".join(f"{name}: {found[name]}" for name in wanted if name in found)


def read(name: str) -> bytes:
    """A file beside this one."""
    with open(os.path.join(HERE, name), "rb") as file:
        return file.read()


def main() -> None:
    """Run every input and write the recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", choices=sorted(RESOLVERS), default="default", help="whose kernels run")
    names = [distribution for distribution, _ in INTERPRETERS]
    parser.add_argument("--interpreter", choices=names, default="", help="which, where several are installed")
    parser.add_argument("-o", "--output", default="recording.npz", metavar="FILE", help="what is written")
    options = parser.parse_args()
    with np.load(os.path.join(HERE, "inputs.npz")) as file:
        given = {name: file[name] for name in file.files}
    plan = json.loads(str(given.pop("plan")))
    distribution, version, module = find_interpreter(options.interpreter)
    if distribution == "tflite-micro" and options.kernels != "default":
        sys.exit("record.py: tflite-micro has one set of kernels; leave --kernels out")

    def load(name: str, outputs: int) -> Any:
        content = read(name)
        if distribution == "tflite-micro":
            return MicroInterpreter(module, content, outputs)
        return LiteInterpreter(module, content, options.kernels)

    arrays: dict[str, Any] = {}
    try:
        probe, whole = load("probe.tflite", len(plan["tensors"])), load("model.tflite", len(plan["outputs"]))
        for sample in range(plan["samples"]):
            inputs = [given[f"{sample}/{index}"] for index in plan["inputs"]]
            for index, array in zip(plan["inputs"], inputs):
                arrays[f"{sample}/{index}"] = array
            for index, array in zip(plan["tensors"], probe.run(inputs)):
                arrays[f"{sample}/{index}"] = array
            for index, array in zip(plan["outputs"], whole.run(inputs)):
                arrays[f"{sample}/end/{index}"] = array
            print(f"input {sample + 1} of {plan['samples']}", file=sys.stderr)
    except (RuntimeError, ValueError) as error:
        sys.exit(f"record.py: {distribution} {version} does not run this model: {error}")
    about = {
        "schema": "lastbit.recording/1",
        "model_sha256": hashlib.sha256(read("model.tflite")).hexdigest(),
        "interpreter": f"{distribution} {version}",
        "kernels": options.kernels,
        "cpu": cpu_text(),
        "platform": f"{platform.system()}-{platform.machine()}, Python {platform.python_version()}",
        "samples": plan["samples"],
    }
    np.savez_compressed(options.output, about=np.asarray(json.dumps(about)), **arrays)
    print(f"wrote {options.output}: {about['interpreter']}, {about['kernels']} kernels, {plan['samples']} inputs")


if __name__ == "__main__":
    main()
