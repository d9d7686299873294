"""Where mistakes were seen: addresses of public threads, by what they are called here."""

__all__ = [
    "ARM_COMPUTE_834",
    "CMSIS_214",
    "FORUM",
    "FORUM_SCALE_ZERO",
    "LITERT_7441",
    "LITERT_8567",
    "PYRTLNET_6",
    "SO_CONVOLVE",
    "SO_PURE_PYTHON",
    "TF_23800",
    "TF_102943",
    "TF_104605",
    "TINYENGINE_59",
    "TT_METAL_56525",
]

FORUM = "https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089"
FORUM_SCALE_ZERO = (
    "https://discuss.ai.google.dev/t/extract-quantization-parameters-used-for-convolution-layer-weights-"
    "and-perform-layer-by-layer-inference-in-c/44943"
)
SO_PURE_PYTHON = "https://stackoverflow.com/questions/53420994"
SO_CONVOLVE = "https://stackoverflow.com/questions/78228612"
TF_102943 = "https://github.com/tensorflow/tensorflow/issues/102943"
TF_104605 = "https://github.com/tensorflow/tensorflow/issues/104605"
TF_23800 = "https://github.com/tensorflow/tensorflow/issues/23800"
LITERT_7441 = "https://github.com/google-ai-edge/LiteRT/issues/7441"
LITERT_8567 = "https://github.com/google-ai-edge/LiteRT/issues/8567"
CMSIS_214 = "https://github.com/ARM-software/CMSIS-NN/issues/214"
PYRTLNET_6 = "https://github.com/UCSBarchlab/pyrtlnet/issues/6"
TINYENGINE_59 = "https://github.com/mit-han-lab/tinyengine/issues/59"
ARM_COMPUTE_834 = "https://github.com/ARM-software/ComputeLibrary/issues/834"
TT_METAL_56525 = "https://github.com/tenstorrent/tt-metal/issues/56525"
