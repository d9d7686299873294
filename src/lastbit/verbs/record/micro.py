"""The C++ file for TensorFlow Lite Micro: a function that runs the inputs and prints every tensor."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.types import Array

__all__ = ["PREFIX", "micro_source"]

PREFIX = "LASTBIT"
"""What each printed line begins with."""

_TEMPLATE = """\
/* Written by `lastbit record`: prints what TensorFlow Lite Micro calculates, tensor by tensor.
 *
 * Build this file with your firmware. lastbit_probe is a model as you are used to: make a MicroInterpreter of it with
 * your resolver and an arena that is large enough (every tensor is an output: about the sum of their sizes), allocate
 * its tensors, and call lastbit_record(interpreter, printf). Save what is printed to a file, with whatever else the
 * board prints: `lastbit verify MODEL --recorded FILE` looks for lines that begin with LASTBIT.
 */
#include <stdint.h>

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_interpreter.h"

extern "C" {{

alignas(16) extern const unsigned char lastbit_probe[] = {{
{probe}
}};
extern const unsigned int lastbit_probe_size = {size}u;

static const unsigned char lastbit_inputs[] = {{
{inputs}
}};
static const int lastbit_input_tensors[] = {{{input_tensors}}};
static const int lastbit_output_tensors[] = {{{output_tensors}}};

typedef int (*lastbit_print)(const char* format, ...);

static void lastbit_tensor(lastbit_print print, int sample, int index, const TfLiteTensor* tensor) {{
  const unsigned char* bytes = (const unsigned char*)tensor->data.raw_const;
  print("LASTBIT %d %d ", sample, index);
  for (unsigned long i = 0; i < (unsigned long)tensor->bytes; ++i) print("%02x", (unsigned)bytes[i]);
  print("\\n");
}}

/* Returns 0, or 1 where the interpreter fails. */
int lastbit_record(tflite::MicroInterpreter* interpreter, lastbit_print print) {{
  const unsigned char* next = lastbit_inputs;
  print("LASTBIT begin {digest} {samples}\\n");
  for (int sample = 0; sample < {samples}; ++sample) {{
    for (unsigned i = 0; i < sizeof lastbit_input_tensors / sizeof(int); ++i) {{
      TfLiteTensor* tensor = interpreter->input(i);
      unsigned char* to = (unsigned char*)tensor->data.raw;
      for (unsigned long k = 0; k < (unsigned long)tensor->bytes; ++k) to[k] = *next++;
      lastbit_tensor(print, sample, lastbit_input_tensors[i], tensor);
    }}
    if (interpreter->Invoke() != kTfLiteOk) return 1;
    for (unsigned i = 0; i < sizeof lastbit_output_tensors / sizeof(int); ++i)
      lastbit_tensor(print, sample, lastbit_output_tensors[i], interpreter->output(i));
  }}
  print("LASTBIT end\\n");
  return 0;
}}

}}  /* extern "C" */
"""


def micro_source(
    probe: bytes, digest: str, samples: Sequence[Sequence[Array]], inputs: Sequence[int], tensors: Sequence[int]
) -> str:
    """The C++ file.

    Args:
        probe: the model with its tensors as outputs.
        digest: of the model itself, SHA-256.
        samples: the inputs, one list for each call.
        inputs: the tensors that they are fed to.
        tensors: the probe's outputs.
    """
    values = b"".join(array.tobytes() for sample in samples for array in sample)
    return _TEMPLATE.format(
        probe=_bytes(probe),
        size=len(probe),
        inputs=_bytes(values),
        input_tensors=", ".join(map(str, inputs)),
        output_tensors=", ".join(map(str, tensors)),
        digest=digest,
        samples=len(samples),
    )


def _bytes(content: bytes) -> str:
    lines = (content[start : start + 24] for start in range(0, len(content), 24))
    return "\n".join(",".join(map(str, line)) + "," for line in lines)
