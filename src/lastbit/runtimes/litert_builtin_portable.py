"""LiteRT's own kernels where ruy runs its portable code: CPUs without a vector path of their own, or RUY_PATHS=0x1."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule, Runtime
from .derive import AROUND_DENSE, SINGLE, UP_UP, kept, matrix_product
from .litert_builtin_x86 import LITERT_BUILTIN_X86
from .operator_rules import BUILTIN_OPERATORS
from .shared import INT16_GRANULARITIES, int16_by_reference
from .variant import key_of

__all__ = ["LITERT_BUILTIN_PORTABLE"]

_UNSETTLED_CONVOLUTION = Refused(
    Refusal.NOT_EXACT,
    "not exact: ruy's portable product rounds once, but one output pixel goes another way, which is not settled",
)

LITERT_BUILTIN_PORTABLE = Runtime(
    name="litert-builtin-portable",
    title="LiteRT's optimized kernels without a delegate, ruy's portable code (RUY_PATHS=0x1)",
    oracle="ai-edge-litert 2.3.0, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, RUY_PATHS=0x1",
    platform="portable C++ in ruy, shown on x86-64",
    rules={
        # Only the matrix product is ruy's; the operators around it are the same code.
        **BUILTIN_OPERATORS,
        **{
            key: _UNSETTLED_CONVOLUTION
            for key, rule in BUILTIN_OPERATORS.items()
            if key[0] == "CONV_2D" and isinstance(rule, Rule) and rule.name in UP_UP
        },
        **kept(LITERT_BUILTIN_X86, *AROUND_DENSE),
        **int16_by_reference(Family.BUILTIN, *INT16_GRANULARITIES),
        **matrix_product(("q31-by_rows-single/fd", "q31-by_rows-single/dd"), SINGLE, Family.BUILTIN),
        # Hybrid layers multiply integers without rounding: whose product it is changes nothing.
        **{
            key: rule for key, rule in LITERT_BUILTIN_X86.rules.items() if key[0] == "FULLY_CONNECTED" and key[1].hybrid
        },
        key_of("FULLY_CONNECTED", "int16 per_tensor"): Rule("q15-half_up/fd", Family.BUILTIN),
        key_of("FULLY_CONNECTED", "int16 per_channel"): Rule("q15-half_up/dd", Family.BUILTIN),
    },
    sources=(
        "tensorflow/tensorflow tensorflow/lite/kernels/cpu_backend_gemm.h @053a4435e7f5: which kernel runs",
        "tensorflow/tensorflow tensorflow/lite/kernels/cpu_backend_gemm_custom_gemv.h @1d4aae3e0ba9: one row",
        "google/ruy ruy/apply_multiplier.cc @0aa3f8b422f8: several rows",
    ),
)
