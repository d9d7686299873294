"""The C++ file for TensorFlow Lite Micro: a function that runs the inputs and prints every tensor."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.types import Array

__all__ = ["BYTES_A_LINE", "PREFIX", "micro_source"]

PREFIX = "LASTBIT"
"""What each printed line begins with."""

BYTES_A_LINE = 32
"""How many bytes of a tensor stand in one line."""

_TEMPLATE = """\
/* Written by `lastbit record`: prints what TensorFlow Lite Micro calculates, tensor by tensor.
 *
 * Include this file where you make your interpreter. lastbit_probe is a model as you are used to: make a
 * MicroInterpreter of it with your resolver and an arena that is large enough (every tensor is an output: about the
 * sum of their sizes), call AllocateTensors, and then lastbit_record(&interpreter, printf). Save what is printed to a
 * file, with whatever else the board prints: `lastbit verify MODEL --recorded FILE` looks for lines with {prefix}.
 *
 * It names no namespace and includes no header of TensorFlow Lite Micro, so that it fits every version. In the place of
 * printf stands what prints on your board and knows %d and %s: each call is a whole line. C++11.
 */
#ifndef LASTBIT_RECORD_H_
#define LASTBIT_RECORD_H_

#include <stddef.h>
#include <stdint.h>

alignas(16) static const unsigned char lastbit_probe[] = {{
{probe}
}};
static const size_t lastbit_probe_size = sizeof lastbit_probe;

static const unsigned char lastbit_inputs[] = {{
{inputs}
}};
static const int lastbit_input_tensors[] = {{{input_tensors}}};
static const size_t lastbit_input_bytes[] = {{{input_bytes}}};
static const int lastbit_output_tensors[] = {{{output_tensors}}};

/* A line's bytes in hexadecimal digits, and a sum over all bytes so far (Adler-32). */
struct LastbitLine {{
  uint32_t low = 1, high = 0;
  char digits[2 * {bytes_a_line} + 1];

  const char* hex(const unsigned char* bytes, size_t count) {{
    size_t at = 0;
    for (size_t i = 0; i < count; ++i) {{
      digits[at++] = "0123456789abcdef"[bytes[i] >> 4];
      digits[at++] = "0123456789abcdef"[bytes[i] & 15];
    }}
    digits[at] = 0;
    return digits;
  }}

  const char* next(const unsigned char* bytes, size_t count) {{
    for (size_t i = 0; i < count; ++i) {{
      low = (low + bytes[i]) % 65521u;
      high = (high + low) % 65521u;
    }}
    return hex(bytes, count);
  }}

  const char* sum() {{
    const unsigned char bytes[] = {{static_cast<unsigned char>(high >> 8), static_cast<unsigned char>(high & 255),
                                   static_cast<unsigned char>(low >> 8), static_cast<unsigned char>(low & 255)}};
    return hex(bytes, sizeof bytes);
  }}
}};

template <typename Tensor, typename Print>
void lastbit_tensor(LastbitLine* line, Print print, int sample, int index, const Tensor* tensor) {{
  const unsigned char* bytes = reinterpret_cast<const unsigned char*>(tensor->data.raw);
  for (size_t at = 0; at < tensor->bytes; at += {bytes_a_line}) {{
    const size_t left = tensor->bytes - at;
    const char* digits = line->next(bytes + at, left < {bytes_a_line} ? left : {bytes_a_line});
    print("{prefix} %d %d %d %s\\n", sample, index, static_cast<int>(at), digits);
  }}
}}

/* Returns 0; or 1, after a line that says why. */
template <typename Interpreter, typename Print>
int lastbit_record(Interpreter* interpreter, Print print) {{
  const size_t inputs = sizeof lastbit_input_bytes / sizeof(size_t);
  const size_t outputs = sizeof lastbit_output_tensors / sizeof(int);
  if (interpreter->inputs_size() != inputs || interpreter->outputs_size() != outputs) {{
    print("{prefix} error the interpreter is not of lastbit_probe: it has %d outputs\\n",
          static_cast<int>(interpreter->outputs_size()));
    return 1;
  }}
  const unsigned char* next = lastbit_inputs;
  LastbitLine line;
  print("{prefix} begin %s {samples}\\n", "{digest}");
  for (int sample = 0; sample < {samples}; ++sample) {{
    for (size_t i = 0; i < inputs; ++i) {{
      auto* tensor = interpreter->input(i);
      if (tensor == nullptr || tensor->bytes != lastbit_input_bytes[i]) {{
        print("{prefix} error input %d has another size, or AllocateTensors failed\\n", static_cast<int>(i));
        return 1;
      }}
      unsigned char* to = reinterpret_cast<unsigned char*>(tensor->data.raw);
      for (size_t k = 0; k < lastbit_input_bytes[i]; ++k) to[k] = *next++;
      lastbit_tensor(&line, print, sample, lastbit_input_tensors[i], tensor);
    }}
    if (interpreter->Invoke() != 0) {{
      print("{prefix} error Invoke failed for input %d\\n", sample);
      return 1;
    }}
    for (size_t i = 0; i < outputs; ++i) {{
      lastbit_tensor(&line, print, sample, lastbit_output_tensors[i], interpreter->output(i));
    }}
  }}
  print("{prefix} end %s\\n", line.sum());
  return 0;
}}

#endif  /* LASTBIT_RECORD_H_ */
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

    Source: tensorflow/tflite-micro, tensorflow/lite/micro/micro_interpreter.h @057dbe71b06f (input, output,
    inputs_size, outputs_size, Invoke).
    """
    values = b"".join(array.tobytes() for sample in samples for array in sample)
    return _TEMPLATE.format(
        prefix=PREFIX,
        bytes_a_line=BYTES_A_LINE,
        probe=_bytes(probe),
        inputs=_bytes(values),
        input_tensors=", ".join(map(str, inputs)),
        input_bytes=", ".join(str(array.nbytes) for array in samples[0]),
        output_tensors=", ".join(map(str, tensors)),
        digest=digest,
        samples=len(samples),
    )


def _bytes(content: bytes) -> str:
    lines = (content[start : start + 24] for start in range(0, len(content), 24))
    return "\n".join(",".join(map(str, line)) + "," for line in lines)
