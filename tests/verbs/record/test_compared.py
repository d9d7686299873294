"""What a recording's answer says where operators were not compared."""

from types import SimpleNamespace

import pytest

from lastbit.runtimes import get_runtime
from lastbit.verbs.record.compared import Recorded, RecordedOperator, RecordedRuntime

RECORDING = SimpleNamespace(where="a board", samples=({},))
MODEL = SimpleNamespace(operators=())


def operator(index, mismatches):
    """One operator of a recording; mismatches None: it was not compared."""
    of = SimpleNamespace(index=index, name="CONV_2D", label=f"operator {index} CONV_2D")
    if mismatches is None:
        return RecordedOperator(of, "", "not known")
    return RecordedOperator(of, "rule", "", outputs=10, mismatches=mismatches)


def beside(**runtimes):
    """An answer to `identify`: runtime -> the outputs that differ of each operator."""
    found = [
        RecordedRuntime(get_runtime(name.replace("_", "-")), tuple(map(operator, range(len(differ)), differ)), 0, 0)
        for name, differ in runtimes.items()
    ]
    found.sort(key=lambda r: r.order)
    return Recorded(MODEL, RECORDING, tuple(found), identified=True)


@pytest.mark.parametrize(
    ("answer", "told", "exit_code"),
    [
        (
            beside(litert_builtin_x86=(None, None), litert_reference=(None, None)),
            "Not known: no runtime has a rule for an operator of this model",
            3,
        ),
        (
            beside(litert_builtin_x86=(None, None, None, None, 0), litert_reference=(0, 0, 0, 0, 0)),
            "litert-reference prints this",
            0,
        ),
        (
            beside(litert_builtin_x86=(None, None, None, None, 0), litert_reference=(0, 2, 0, 0, 0)),
            "No runtime that could be compared prints this; nearest: litert-reference: "
            "5 of 5 operators compared, 50 outputs, 2 differ, first in operator 1 CONV_2D",
            1,
        ),
        (
            beside(litert_builtin_x86=(1, 0, 0), litert_reference=(0, 2, 0)),
            "No runtime prints this; nearest: litert-builtin-x86: "
            "3 of 3 operators compared, 30 outputs, 1 differ, first in operator 0 CONV_2D",
            1,
        ),
        (
            beside(litert_builtin_x86=(0, None, None), litert_reference=(0, 2, 0)),
            "litert-builtin-x86 prints what was compared",
            3,
        ),
    ],
)
def test_a_runtime_of_which_nothing_was_compared_is_not_said_to_print_this(answer, told, exit_code):
    assert answer.in_short()[0] == told
    assert answer.exit_code == exit_code


def test_a_runtime_of_which_nothing_was_compared_does_not_say_that_none_differs():
    (unknown,) = beside(litert_reference=(None, None)).runtimes
    assert unknown.verdict() == "litert-reference: 0 of 2 operators compared"
