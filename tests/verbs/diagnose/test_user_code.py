"""Implementations as users write them: what is wrong in each has a name, and some of each kind are named."""

import pytest

from bench.diagnose_user_code import CASES, judged
from bench.user_code.case import NOT_IN_THE_CATALOGUE
from lastbit.layers.mistakes import MISTAKES
from lastbit.layers.mistakes.hybrid import HYBRID
from lastbit.layers.mistakes.of_first_layer import OF_FIRST_LAYER
from lastbit.layers.mistakes.operators import OPERATOR_MISTAKES
from lastbit.verbs.diagnose.fitted import FITTED

NAMES = {*MISTAKES, *HYBRID, *OPERATOR_MISTAKES, *OF_FIRST_LAYER, FITTED.name, "rows_unwritten"}
QUICK = (
    "dense_int8.dense_from_the_forum",
    "dense_int8.golden_model",
    "dense_more.integer_bias_on_real_output",
    "dense_more.reads_nchw",
    "dense_more.s1_s2_s3",
    "dense_other.gemm_without_offsets",
    "hybrid.casts_the_quantized_row",
    "convolutions.depthwise_channels_first",
    "networks.cnn_pads_with_zero",
    "second_dense.scales_with_three_decimals",
    "second_convolutions.dilated_but_padded_by_one",
    "second_networks.residual_rounds_both",
    "second_networks.softmax_alone_truncates",
)


def test_there_are_enough_and_what_is_wrong_has_a_name():
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)
    assert {name for case in CASES for name in case.expected} <= NAMES | NOT_IN_THE_CATALOGUE
    assert not NAMES & NOT_IN_THE_CATALOGUE
    assert all(case.source.startswith("https://") for case in CASES)


@pytest.mark.parametrize("name", QUICK)
def test_some_of_each_kind_are_named(name):
    case = next(case for case in CASES if case.name == name)
    outcome, said, _ = judged(case)
    assert outcome == "named", said
