"""The recorder's C++ file with the real TensorFlow Lite Micro: the C++ in tflite-micro's wheel, called from C++.

    python -m lab check micro_recorder MODEL.tflite ...

The wheel's extension module exports TensorFlow Lite Micro's classes. A few lines of C++ declare them, make an
interpreter of lastbit_probe in the wheel's own code, and call lastbit_record with it and printf, as firmware does. What
is printed is then compared with what record.py brings back with the same wheel's Python interpreter, tensor by tensor,
and with the runtime `tflm`, operator by operator. Needs g++ and tflite-micro.

Declared by hand is what the wheel has no headers for: names (its symbols), the first words of TfLiteTensor and how many
inputs and outputs there are. Source: tensorflow/tflite-micro, tensorflow/lite/core/c/common.h (TfLiteTensor with
TF_LITE_STATIC_MEMORY) and tensorflow/lite/micro/micro_interpreter.h @057dbe71b06f; in the wheel of 2026-10-23 the
classes are in namespace tflite::micro.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from lastbit.model.graph import Model
from lastbit.model.tflite import load
from lastbit.verbs.record.comparing import compare_recorded
from lastbit.verbs.record.recording import Recording, read_recording
from lastbit.verbs.record.verb import record

__all__ = ["printed_in_wheel", "recorded_in_python"]

_GLUE = """
#include <cstdio>
#include <cstring>
#include "lastbit_record.h"

struct TfLiteTensor {
  struct { int type; void* params; } quantization;
  struct { float scale; int32_t zero_point; } params;
  union { char* raw; } data;
  void* dims;
  size_t bytes;
};
namespace tflite {
struct Model;
namespace micro {
enum class MemoryPlannerType { kGreedy };
class MicroOpResolver;
class MicroProfilerInterface;
struct MicroAllocator { static MicroAllocator* Create(unsigned char*, size_t, MemoryPlannerType); };
struct MicroResourceVariables { static MicroResourceVariables* Create(MicroAllocator*, int); };
struct MicroInterpreter {
  MicroInterpreter(const Model*, const MicroOpResolver&, MicroAllocator*, MicroResourceVariables*,
                   MicroProfilerInterface*);
  int AllocateTensors();
  int Invoke();
  TfLiteTensor* input(size_t);
  TfLiteTensor* output(size_t);
  size_t inputs_size() const { return sizeof lastbit_input_bytes / sizeof(size_t); }
  size_t outputs_size() const { return sizeof lastbit_output_tensors / sizeof(int); }
  alignas(16) unsigned char own[1 << 16];
};
}  // namespace micro
struct PythonOpsResolver { PythonOpsResolver(); alignas(16) unsigned char own[1 << 18]; };
}  // namespace tflite

extern "C" int lastbit_main() {
  alignas(16) static unsigned char arena[96 << 20];
  static tflite::PythonOpsResolver resolver;
  auto* allocator = tflite::micro::MicroAllocator::Create(arena, sizeof arena,
                                                          tflite::micro::MemoryPlannerType::kGreedy);
  auto* variables = tflite::micro::MicroResourceVariables::Create(allocator, 64);
  uint32_t root;
  memcpy(&root, lastbit_probe, sizeof root);
  static tflite::micro::MicroInterpreter interpreter(
      reinterpret_cast<const tflite::Model*>(lastbit_probe + root),
      reinterpret_cast<const tflite::micro::MicroOpResolver&>(resolver), allocator, variables, nullptr);
  if (interpreter.AllocateTensors() != 0) return 2;
  const int result = lastbit_record(&interpreter, printf);
  fflush(stdout);
  return result;
}
"""
_CALL = """
import ctypes, sys
import tflite_micro.python.tflite_micro._runtime as module
ctypes.CDLL(module.__file__, mode=ctypes.RTLD_GLOBAL)
sys.exit(ctypes.CDLL(sys.argv[1]).lastbit_main())
"""


def printed_in_wheel(folder: Path) -> str:
    """What lastbit_record prints with TensorFlow Lite Micro as it is in tflite-micro's wheel.

    Args:
        folder: where a recorder was written.

    Raises:
        subprocess.CalledProcessError: it does not compile.
        SystemExit: the interpreter does not run the model.
    """
    (folder / "glue.cc").write_text(_GLUE, encoding="utf-8")
    library = folder / "glue.so"
    command = ["g++", "-std=c++11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, "glue.cc", "-o", library.name], check=True, cwd=folder)
    call = [sys.executable, "-c", _CALL, str(library)]
    ran = subprocess.run(call, check=False, capture_output=True, text=True, timeout=600)
    if ran.returncode:
        raise SystemExit(f"TensorFlow Lite Micro does not run it: {' '.join((ran.stdout[-200:] + ran.stderr).split())}")
    return ran.stdout


def recorded_in_python(folder: Path, model: Model) -> Recording:
    """What record.py brings back with the same wheel."""
    target = folder / "recording.npz"
    command = [sys.executable, "record.py", "--interpreter", "tflite-micro", "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=600)
    return read_recording(target, model)


def _check(path: str) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = load(path)
        record(model).write(name)
        log = folder / "log.txt"
        log.write_text(printed_in_wheel(folder), encoding="utf-8")
        printed, wanted = read_recording(log, model), recorded_in_python(folder, model)
        values = differing = 0
        for ours, theirs in zip(printed.samples, wanted.samples, strict=True):
            assert ours.keys() == theirs.keys()
            for index, array in theirs.items():
                values += array.size
                differing += int(np.count_nonzero(ours[index].view(np.uint8) != array.view(np.uint8)))
        report = compare_recorded(model, printed, ["tflm"])
    print(f"{Path(path).name}: {values:,} values, {differing} bytes differ from record.py; {report.in_short()[0]}")
    return not differing and report.exit_code != 1


def main() -> None:
    """Check each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL.tflite")
    results = []
    for path in parser.parse_args().models:
        try:
            results.append(_check(path))
        except SystemExit as refused:
            print(f"{Path(path).name}: {refused}")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
