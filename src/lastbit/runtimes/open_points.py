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
        "In the delegate KleidiAI takes rows in blocks of four values there and rounds all of a hybrid layer's input "
        "half away: `litert-xnnpack-arm64-dotprod`. Everything else is as with i8mm: 3.0 million outputs of LiteRT's "
        "optimized kernels and 2.9 million of the reference kernels on an emulated Cortex-A76, none differs.",
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
        "TensorFlow Lite Micro of 2023 and early 2024 with per-channel weights",
        "The dense kernel takes the first unit's scale for every unit, and says nothing: wrong results.",
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
)
"""(what was open, what it turned out to be)."""

OPEN_POINTS: tuple[tuple[str, str], ...] = (
    (
        "XNNPACK on AVX512-VNNI without GFNI (Cascade Lake) and on AMX",
        "They count as `litert-xnnpack`, which ran on CPUs with AVX512-VNNI and GFNI, and without AMX.",
    ),
    (
        "Float32 layers on ARM64 in LiteRT's delegate and in its optimized kernels",
        "The delegate's kernel depends on the CPU. With -cpu max, 2.0.2 does one fused multiply-add after the "
        "other from the bias, as on x86-64; but what is below 2^-126 before it is rounded becomes zero, and a "
        "bias of -0.0 is not always kept. With -cpu cortex-a76 some layers of one row differ, and so do those of "
        "1.4.0 with -cpu max. The optimized kernels were not read. The reference kernels are settled.",
    ),
    (
        "Hybrid layers in LiteRT 1.4.0 on ARM64",
        "Its delegate prints what 2.0.2's does. Without a delegate it differs in int8 layers (int4: in reference "
        "kernels and small layers) with a scale for each unit and symmetric input quantization only: there it ignores "
        "the weights' scales, and the results are wrong.",
    ),
    (
        "LiteRT's delegate on Cortex-A53 (Raspberry Pi 3)",
        "XNNPACK has kernels of its own for that core. With -cpu cortex-a53 and that core's /proc/cpuinfo, hybrid and "
        "int8 layers are as `litert-xnnpack-arm64-neon` has them (int8 never overflows), uint8 layers are rounded "
        "otherwise (`rndnu16`, not modelled). A Cortex-A53 has no oracle of the delegate; LiteRT's own "
        "kernels are as on A72.",
    ),
    (
        "8-bit layers with pairs of the lowest weights on ARM64 without dot product instructions",
        "Two weights eight columns apart that, as int8, are -128 and meet two inputs of -128: the sum of two products "
        "overflows 16 bits, in XNNPACK (int8, Cortex-A72) and in ruy's product (int8 and uint8, several rows or few "
        "units). Layers whose weights allow that are refused, not modelled; hybrid layers are modelled.",
    ),
    (
        "Hybrid and float32 layers in older versions",
        "Run for every LiteRT that runs, 1.0.0 to 2.3.0, and for TensorFlow 2.14.1 to 2.18.1, 2.20.0 and 2.21.0, "
        "without AVX512 (`litert-xnnpack-avx2@...`), in the builtin and in the reference kernels. Not settled: in the "
        "delegate int4 with a scale for each unit in LiteRT 1.1 to 1.3, where outputs differ whose row has a minus "
        "infinity (they have the sign of the weight that meets it). TensorFlow 2.14.1, 2.16.2 and 2.18.1 ran "
        "before rules were known that fit their neighbours (per-channel scales lost; four lanes; the scale inverted) "
        "and were not run against these. Whether the scale is inverted was asked of LiteRT 1.0.0 to 1.2.0, 2.0.2, "
        "2.1.0, 2.1.5 and 2.3.0 only; those between have 255 over the range as their neighbours have. TensorFlow "
        "2.12, 2.13 and 2.19 were not run. `litert-xnnpack@...` was not asked.",
    ),
    (
        "The other versions named `litert-xnnpack@...` on x86-64 without AVX512-VNNI",
        "They were run on a CPU with it. `litert-xnnpack-avx2@...` has those named above.",
    ),
    (
        "int16 x int4 without a delegate before LiteRT 1.1 and TensorFlow 2.19",
        "No rule reproduces what these versions print; they may read packed weights as bytes. Later ones are settled.",
    ),
    (
        "TensorFlow Lite Micro of 2023 and early 2024, int16 activations with per-channel weights",
        "Probably the first unit's scale for every unit, as with int8; no golden outputs to hold that against.",
    ),
    (
        "int16 layers with an int32 bias that quantized_bias_type does not name, in reference kernels",
        "The kernel reads it as int64 and so beyond its end: what it adds depends on what lies behind it in the file.",
    ),
    (
        "PyTorch fbgemm and uint8 x int8 products on x86-64 without VNNI",
        "Neighbouring products are added in 16 bits, which saturate; where they do not, `torch-fbgemm` holds too.",
    ),
    (
        "CMSIS-NN's code for DSP and MVE, and int16 per-channel",
        "Only the plain C was run.",
    ),
    (
        "x86-64 without AVX; int2, sparse, shuffled and blockwise weights; PyTorch's onednn and qnnpack; ONNX "
        "Runtime's QDQ form; LiteRT's CompiledModel",
        "Not run.",
    ),
)
"""(what is open, what is known of it)."""
