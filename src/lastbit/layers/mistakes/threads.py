"""Where mistakes were seen: addresses of public threads, by what they are called here."""

__all__ = [
    "ARMNN_550",
    "ARM_COMPUTE_834",
    "ARM_COMPUTE_1033",
    "BITNET_459",
    "CMSIS_5_327",
    "CMSIS_5_1394",
    "CMSIS_184",
    "CMSIS_214",
    "COMFY_KITCHEN_133",
    "ESP_NN_25",
    "EXECUTORCH_20655",
    "FLATBUFFERS_6980",
    "FORUM",
    "FORUM_CONVERTED_TO_INT8",
    "FORUM_SCALE_ZERO",
    "GEMMLOWP_66",
    "HALIDE_656",
    "LEETGPU_38",
    "LITERT_7441",
    "LITERT_8567",
    "LLAMA_RDNA_19",
    "MURISCV_3",
    "NETRON_1221",
    "NNTRAINER_1994",
    "ONEDNN_476",
    "ONE_BIT_572",
    "ORT_QNN_728",
    "PYRTLNET_6",
    "PYTORCH_76390",
    "QUARK_30",
    "SO_CONVOLVE",
    "SO_PURE_PYTHON",
    "TFLM_757",
    "TFLM_3598",
    "TF_23384",
    "TF_23800",
    "TF_35072",
    "TF_38781",
    "TF_42648",
    "TF_44215",
    "TF_51853",
    "TF_53763",
    "TF_58987",
    "TF_62110",
    "TF_62640",
    "TF_102943",
    "TF_104605",
    "TILELANG_2947",
    "TINYENGINE_59",
    "TRITON_2296",
    "TT_METAL_56327",
    "TT_METAL_56525",
    "ZEPHYR_88638",
]

FORUM = "https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089"
FORUM_SCALE_ZERO = (
    "https://discuss.ai.google.dev/t/extract-quantization-parameters-used-for-convolution-layer-weights-"
    "and-perform-layer-by-layer-inference-in-c/44943"
)
SO_PURE_PYTHON = "https://stackoverflow.com/questions/53420994"
SO_CONVOLVE = "https://stackoverflow.com/questions/78228612"
FORUM_CONVERTED_TO_INT8 = "https://discuss.ai.google.dev/t/how-are-conv-layer-and-others-layers-outputs-quantized/31772"
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
CMSIS_184 = "https://github.com/ARM-software/CMSIS-NN/issues/184"
CMSIS_5_327 = "https://github.com/ARM-software/CMSIS_5/issues/327"
CMSIS_5_1394 = "https://github.com/ARM-software/CMSIS_5/issues/1394"
ARM_COMPUTE_1033 = "https://github.com/ARM-software/ComputeLibrary/issues/1033"
NETRON_1221 = "https://github.com/lutzroeder/netron/issues/1221"
ZEPHYR_88638 = "https://github.com/zephyrproject-rtos/zephyr/issues/88638"
TF_62640 = "https://github.com/tensorflow/tensorflow/issues/62640"
TF_44215 = "https://github.com/tensorflow/tensorflow/issues/44215"
TF_35072 = "https://github.com/tensorflow/tensorflow/issues/35072"
TF_58987 = "https://github.com/tensorflow/tensorflow/issues/58987"
TF_62110 = "https://github.com/tensorflow/tensorflow/pull/62110"
TF_23384 = "https://github.com/tensorflow/tensorflow/issues/23384"
ESP_NN_25 = "https://github.com/espressif/esp-nn/issues/25"
NNTRAINER_1994 = "https://github.com/nntrainer/nntrainer/pull/1994"
TRITON_2296 = "https://github.com/triton-lang/triton/issues/2296"
PYTORCH_76390 = "https://github.com/pytorch/pytorch/issues/76390"
TILELANG_2947 = "https://github.com/tile-ai/tilelang/issues/2947"
COMFY_KITCHEN_133 = "https://github.com/Comfy-Org/comfy-kitchen/pull/133"
LEETGPU_38 = "https://github.com/AlphaGPU/leetgpu-challenges/pull/38"
TT_METAL_56327 = "https://github.com/tenstorrent/tt-metal/pull/56327"
GEMMLOWP_66 = "https://github.com/google/gemmlowp/pull/66"
MURISCV_3 = "https://github.com/tum-ei-eda/muriscv-nn/issues/3"
TF_51853 = "https://github.com/tensorflow/tensorflow/issues/51853"
FLATBUFFERS_6980 = "https://github.com/google/flatbuffers/issues/6980"
EXECUTORCH_20655 = "https://github.com/pytorch/executorch/pull/20655"
TF_53763 = "https://github.com/tensorflow/tensorflow/issues/53763"
TF_38781 = "https://github.com/tensorflow/tensorflow/issues/38781"
TFLM_757 = "https://github.com/tensorflow/tflite-micro/issues/757"
TFLM_3598 = "https://github.com/tensorflow/tflite-micro/pull/3598"
ONEDNN_476 = "https://github.com/uxlfoundation/oneDNN/issues/476"
ARMNN_550 = "https://github.com/ARM-software/armnn/issues/550"
BITNET_459 = "https://github.com/microsoft/BitNet/pull/459"
ORT_QNN_728 = "https://github.com/onnxruntime/onnxruntime-qnn/pull/728"
QUARK_30 = "https://github.com/amd/Quark/pull/30"
TF_42648 = "https://github.com/tensorflow/tensorflow/issues/42648"
HALIDE_656 = "https://github.com/halide/Halide/pull/656"
LLAMA_RDNA_19 = "https://github.com/stew675/llama-cpp-rdna-boosts/issues/19"
ONE_BIT_572 = "https://github.com/1bit-MONSTER/1bit-MONSTER/pull/572"
TVM_4807 = "https://github.com/apache/tvm/pull/4807"
ONNX2TFLITE_5 = "https://github.com/MPolaris/onnx2tflite/issues/5"
TFLM_1646 = "https://github.com/tensorflow/tflite-micro/issues/1646"
GAP_SDK_75 = "https://github.com/GreenWaves-Technologies/gap_sdk/issues/75"
MGECONVERT_51 = "https://github.com/MegEngine/mgeconvert/pull/51"
PYTORCH_FORUM_129437 = "https://discuss.pytorch.org/t/how-does-quantized-conv2d-handle-scale-and-zero-point/129437"
