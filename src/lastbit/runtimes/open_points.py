"""What is not known of the runtimes, and what was not known once: for docs/runtimes.md."""

from __future__ import annotations

__all__ = ["OPEN_POINTS", "SETTLED_POINTS"]

SETTLED_POINTS: tuple[tuple[str, str], ...] = (
    (
        "tflite-runtime 2.14, per-channel int8 in the reference kernels",
        "It rounds twice, as its per-tensor kernel does. What was not explained was the output: that kernel takes "
        "every output for two dimensions, and of one with more (keep_num_dims) it leaves a part unwritten, up to "
        "LiteRT 1.0.1 and TensorFlow 2.18.",
    ),
    (
        "LiteRT 1.3.0",
        "It is the first version whose reference kernels round once, in float64; 1.2.0 rounds twice.",
    ),
    (
        "TensorFlow 2.21, int16 activations without a delegate",
        "As LiteRT 2.1: ruy's two roundings half up on 32 bits, float64 on 64 bits or with a weights zero point.",
    ),
    (
        "PyTorch fbgemm, per-tensor bias",
        "The bias, as a real value, is multiplied by 1/(s_x*s_w) and added to the accumulator in one fused "
        "multiply-add; the source has two operations. Per-channel layers divide by s_x*s_w instead.",
    ),
    (
        "LiteRT on ARM64 with one row",
        "The matrix-vector kernel rounds twice, half up, where the matrix product rounds once.",
    ),
    (
        "Hybrid layers on ARM64",
        "LiteRT's own kernels add the bias in a fused multiply-add, which the compiler made of a product and a sum; "
        "but where the number of rows, units and depth choose assembly code for four rows at once, both are rounded. "
        "XNNPACK hands them to KleidiAI: the scales are multiplied first, and nothing is fused.",
    ),
    (
        "ARM64 with dot products and without i8mm (Raspberry Pi 5, many phones)",
        "In the delegate of 2.0.2 KleidiAI takes rows in blocks of four values there and rounds all of a hybrid "
        "layer's input half away: `litert-xnnpack-arm64-dotprod@2.0.2`; with i8mm it does so since 2.3.0 only. "
        "Hybrid convolutions end otherwise; the rest is as with i8mm.",
    ),
    (
        "ARM64 without dot product instructions (Raspberry Pi 4)",
        "In hybrid layers LiteRT's own kernels never take four rows at once, and the delegate has a fused multiply-add "
        "and sums of two products in 16 bits: `litert-xnnpack-arm64-neon`, `litert-builtin-arm64-neon` and "
        "`litert-reference-arm64-neon`, shown on an emulated Cortex-A72.",
    ),
    (
        "LiteRT on ARM64 with int16 activations or int4 weights",
        "Reference kernels saturate a float64 that leaves int32, with a 64-bit accumulator too. The delegate of 2.0.2 "
        "takes int4 weights with a scale for each unit only.",
    ),
    (
        "Dense layers on ARM64 in LiteRT 2.3.0, compared with 2.0.2",
        "Of 22 million outputs of 2.3.0 none differs from what is stated today. Since 2.0.2 four things changed: the "
        "delegate leaves int8 layers whose weights have a zero point to the builtin kernels, where it ignored that "
        "zero point; it takes int4 weights with one scale; with i8mm it rounds all of a hybrid layer's input half "
        "away; and int16 weights are taken, by the reference kernel.",
    ),
    (
        "Convolutions with padding SAME and wide strides in LiteRT 1.4.0 to 2.1.6",
        "Where the windows, of more than one tap, end before the image does (the stride is larger than the window), "
        "the delegate takes a negative padding for a huge one and reads padding only: the output is the bias. 2.2.0 "
        "reads the image. 1 x 1 windows, as in ResNets, were right in all versions.",
    ),
    (
        "LiteRT 1.4.0 on ARM64",
        "As 2.0.2, except for hybrid layers without a delegate: where weights have a scale for each unit and rows are "
        "quantized symmetrically, it leaves the weights' scales out, and the results are wrong.",
    ),
    (
        "TensorFlow Lite Micro of 2023 and early 2024 with per-channel weights",
        "The dense kernel takes the first unit's scale for every unit, and says nothing: wrong results, with int16 "
        "activations too.",
    ),
    (
        "When TensorFlow Lite Micro's product of the scales went from float32 to float64",
        "Between the wheels of 2026-10-09 and 2026-10-13, for all layers with one weights scale. All earlier ones "
        "round it to float32.",
    ),
    (
        "XNNPACK on AVX512-VNNI without GFNI (Cascade Lake)",
        "As with GFNI: an Ice Lake emulated without it printed the same bytes for 10.1 million outputs of dense "
        "layers and other operators.",
    ),
    (
        "Hybrid and float32 layers in older versions",
        "Run for every LiteRT and TensorFlow there is a wheel of, in the delegate on AVX2, in the builtin and in the "
        "reference kernels. In the delegate, rows are multiplied with the inverse of the rounded scale up to LiteRT "
        "1.0 and TensorFlow 2.18; with int4 weights, rows with a minus infinity get the lowest zero point in LiteRT "
        "1.1 to 1.3 and TensorFlow 2.19. Without it, weights with several scales are multiplied with 0 up to "
        "TensorFlow 2.15, and tflite-runtime 2.14 for x86-64 has portable code, which loses int4 weights where depth "
        "% 32 is more than 16. TensorFlow 2.13's int4 kernel reads memory that nobody wrote.",
    ),
    (
        "int16 x int4 without a delegate before LiteRT 1.1 and TensorFlow 2.19",
        "LiteRT 1.0 and TensorFlow 2.18 hand them to the reference kernels. TensorFlow 2.13 to 2.17 and "
        "tflite-runtime 2.14 read every byte as one weight, and so beyond the weights' end: units of the first half "
        "were seen to have those weights, the others what lies behind them in the file.",
    ),
    (
        "XNNPACK on AVX512-VNNI: DEPTHWISE_CONV_2D int8 beyond int32, LEAKY_RELU of float32 subnormals",
        "Depthwise kernels, for windows of up to 25 taps where every output channel has its own input channel, add the "
        "zero point in 16 bits, which saturate; all other convolutions are matrix products, which add it in 32 bits, "
        "where INT32_MIN wraps. LEAKY_RELU multiplies what is below zero, and its comparison takes subnormals for 0: "
        "they come back as they are; AVX2's kernel goes by the sign bit. Run on an emulated Ice Lake.",
    ),
    (
        "XNNPACK on AVX512 without VNNI (Skylake-X)",
        "A runtime of its own, `litert-xnnpack-avx512`. int8 wraps beyond int32 as on AVX512-VNNI; int4 keeps the "
        "whole accumulator and hybrid layers take NaN to the lower bound, as on AVX2. Run on an emulated Skylake-X.",
    ),
    (
        "PyTorch fbgemm and ONNX Runtime's uint8 x int8 products on x86-64 without VNNI",
        "Products of an even place and the one after it are added in 16 bits, which saturate; all else is 32 bits, "
        "zero points and bias come later. The number of rows changes nothing; a last place alone cannot saturate. "
        "fbgemm does so in every layer, ONNX Runtime with uint8 inputs and int8 weights only: int8 x int8 and uint8 x "
        "uint8 are exact. Runtimes of their own: `torch-fbgemm-avx2`, `onnxruntime-avx2`.",
    ),
    (
        "ONNX Runtime of two years, uint8 x int8",
        "As in 1.32 on CPUs without VNNI: 1.20.1 to 1.31.1, one of each minor version, printed 329,022 "
        "outputs each by the rules of `onnxruntime-avx2`, and none differs. `onnxruntime@...` does not offer "
        "it, since it was not run on a CPU with VNNI.",
    ),
    (
        "SPACE_TO_BATCH_ND with padding in TensorFlow Lite Micro",
        "The kernel pads with a number that its preparation never sets. 180 interpreters of int8 models printed eight "
        "different ones, among them what freed memory had held, whatever the zero point was. So it is refused there; "
        "without padding it is exact.",
    ),
)
"""(what was open, what it turned out to be)."""

OPEN_POINTS: tuple[tuple[str, str], ...] = (
    (
        "XNNPACK on AMX (Sapphire Rapids and later)",
        "It counts as `litert-xnnpack`, which ran on CPUs with AVX512-VNNI and without AMX. An emulated Sapphire "
        "Rapids printed the same, but the emulated system did not turn AMX on.",
    ),
    (
        "The versions named `litert-xnnpack@...`",
        "8-bit and int16 layers were run on a CPU with AVX512-VNNI; hybrid and float32 ones there of 1.4.0, 2.1.6 and "
        "2.2.0 only. `litert-xnnpack-avx2@...` has them of all versions. In 1.4.0, LOGISTIC, float32 layers and "
        "float32 convolutions of one tap are not known.",
    ),
    (
        "LiteRT 1.4.0 and 2.0.2 on ARM64",
        "Dense layers only: the other operators were run there in 2.3.0. On x86-64 those of 1.4.0, 2.1.6 and 2.2.0 "
        "were.",
    ),
    (
        "Float32 layers on ARM64 in LiteRT's delegate and in its optimized kernels",
        "The delegate's kernel depends on the CPU. With -cpu max, 2.0.2 does one fused multiply-add after the "
        "other from the bias, as on x86-64; but what is below 2^-126 before it is rounded becomes zero, and a "
        "bias of -0.0 is not always kept. With -cpu cortex-a76 some layers of one row differ, and so do those of "
        "1.4.0 with -cpu max. The optimized kernels were not read. The reference kernels are known.",
    ),
    (
        "LiteRT's delegate on Cortex-A53 (Raspberry Pi 3)",
        "XNNPACK has kernels of its own for that core. With -cpu cortex-a53, 2.3.0 prints 575 of 13,657 outputs of "
        "dense layers otherwise than `litert-xnnpack-arm64-neon` (all uint8: `rndnu16`, not modelled), 91 of 5,348 of "
        "those with float32 activations (int8 weights) and 19 of 28,342 of other operators (uint8 convolutions). A "
        "Cortex-A53 has no oracle of the delegate; LiteRT's own kernels are as on A72.",
    ),
    (
        "LiteRT's delegate on ARM64 with SME2 (Apple M4, Arm C1)",
        "XNNPACK prefers other kernels there, which qemu 10 cannot run: nothing is claimed. With SME alone it is "
        "`litert-xnnpack-arm64-sme`: int8 layers, convolutions and transposed ones add the zero point in 32 bits "
        "(`float32-half_even-saturate32`; not convolutions with one scale, one tap, stride 1 and no groups), and the "
        "bias of a hybrid layer of one row is a fused multiply-add; all else is as with i8mm. SVE2 alone changes "
        "nothing: -cpu max,sme=off printed 24,430 8-bit outputs as with i8mm.",
    ),
    (
        "8-bit layers with pairs of the lowest weights on ARM64 without dot product instructions",
        "Two weights eight columns apart that, as int8, are -128 and meet two inputs of -128: the sum of two products "
        "overflows 16 bits, in XNNPACK (int8, Cortex-A72) and in ruy's product (int8 and uint8, several rows or few "
        "units). Layers whose weights allow that are refused, not modelled; hybrid layers are modelled.",
    ),
    (
        "int16 layers with an int32 bias that quantized_bias_type does not name, in reference kernels",
        "The kernel reads it as int64 and so beyond its end: what it adds depends on what lies behind it in the file.",
    ),
    (
        "ONNX Runtime and PyTorch's fbgemm on x86-64 with AVX512 and without VNNI; fbgemm with AVX-VNNI",
        "By their source they saturate in the same pairs as with AVX2, and count as `onnxruntime-avx2` and "
        "`torch-fbgemm-avx2`; they were not run there. fbgemm has no kernel for AVX-VNNI.",
    ),
    (
        "uint8 x int8 layers in `onnxruntime` and `torch-fbgemm`: CPUs with VNNI",
        "Run on a CPU without it, with inputs none of whose products saturate. That a kernel with VNNI saturates "
        "nowhere was seen for PyTorch's int8 and uint8 layers only.",
    ),
    (
        "CMSIS-NN's code for DSP and MVE, and int16 per-channel",
        "Only the plain C was run.",
    ),
    (
        "LiteRT's CompiledModel",
        "Its 8-bit, float32 and hybrid layers were compared with those of Interpreter(model) in 2.3.0 on "
        "AVX2: 492,310 of 492,327 outputs are the same. The others are of hybrid layers with int4 weights "
        "that are left to the builtin kernels: there CompiledModel takes subnormals for zero "
        "(lab/reach/compiled_model.py).",
    ),
    (
        "x86-64 without AVX; int2, sparse, shuffled and blockwise weights; PyTorch's onednn and qnnpack; ONNX "
        "Runtime's QDQ form",
        "Not run.",
    ),
)
"""(what is open, what is known of it)."""
