"""The gallery of public threads: what diagnose answers, compared with what the threads' code is known to do."""

import numpy as np
import pytest

from lab.pages.gallery import THREADS, answers
from lab.pages.update import updated
from tests.support.places import ROOT

# By the thread's address: the answer to each thing that was diagnosed. None: nothing reproduces every element.
ANSWERS = {
    "https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089": [
        {"product_wraps_int8", "scales_first_for_all", "scale_added"},
    ],
    "https://stackoverflow.com/questions/53420994": [
        {"weights_zero_point_missing", "requantization_missing"},
        {"weights_zero_point_missing", "product_wraps_uint8", "requantization_missing"},
    ],
    "https://stackoverflow.com/questions/78228612": [{"weights_reversed", "truncated_after_zero_point"}],
    "https://github.com/UCSBarchlab/pyrtlnet/issues/6": [{"output_wraps"}],
    "https://github.com/tensorflow/tensorflow/issues/102943": [set()],
    "https://github.com/tensorflow/tensorflow/issues/104605": [set(), None, None],
    "https://github.com/ARM-software/CMSIS-NN/issues/214": [set(), set(), set()],
    "https://github.com/ARM-software/CMSIS-NN/issues/184": [
        {"factor_16_fraction_bits", "multiplier_taken_as_q30", "clamp_missing"},
    ],
    "https://discuss.ai.google.dev/t/how-are-conv-layer-and-others-layers-outputs-quantized/31772": [
        {"accumulator_cast_to_output"},
    ],
    "https://github.com/zephyrproject-rtos/zephyr/issues/88638": [{"input_quantized_by_truncation"}],
}
NAMED_IN_THE_PLAN = [
    "29089",
    "102943",
    "104605",
    "7441",
    "8567",
    "CMSIS-NN/issues/214",
    "pyrtlnet/issues/6",
    "78228612",
    "53420994",
]


def test_all_threads_have_an_answer():
    assert [thread.url for thread in THREADS] == list(ANSWERS)
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert all(name in text for name in NAMED_IN_THE_PLAN)


@pytest.mark.parametrize("thread", THREADS, ids=lambda thread: thread.title)
def test_a_thread_is_answered(thread):
    for (_, report), wanted in zip(answers(thread), ANSWERS[thread.url], strict=True):
        found = None if report.explanation is None else set(report.explanation.mistakes)
        assert found == wanted
        if report.verdict == "other runtime":
            assert report.given.asked not in report.explanation.runtimes


def test_the_argued_accumulator_is_another_runtimes_right_answer():
    thread = next(thread for thread in THREADS if thread.title == "tensorflow#102943")
    _, report = answers(thread)[0]
    assert report.verdict == "other runtime"
    np.testing.assert_array_equal(report.right_output, [[-120]])
    assert {"litert-reference", "tflm", "litert-builtin-x86"} <= set(report.explanation.runtimes)


def test_the_page_is_up_to_date():
    """tests/project/test_project.py leaves this page out, so that its threads are diagnosed once."""
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert updated(text, ("gallery",)) == text
