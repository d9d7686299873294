"""json_text: one strict form of every number, for all reports."""

import json

import numpy as np
import pytest

from lastbit.report.blocks import Report, Text
from lastbit.report.json_text import json_text, number

NOT_FINITE = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize(("text", "value"), NOT_FINITE.items())
@pytest.mark.parametrize("kind", [float, np.float32, np.float64, np.float16])
def test_what_is_not_finite_is_a_string_everywhere(text, value, kind):
    data = {"a": [1, kind(value)], "b": {"c": (kind(value),)}, "d": np.asarray([value, 2.0], np.float32)}
    for indent in (None, 2):
        found = json.loads(json_text(data, indent=indent), parse_constant=refuse)
        assert found == {"a": [1, text], "b": {"c": [text]}, "d": [text, 2.0]}
    np.testing.assert_equal(number(text), value)


def test_finite_data_is_what_json_writes():
    data = {"x": [1, 2.5, True, None, "NaN", "\ud800"], "y": {"z": -0.0}}
    assert json.loads(json_text(data)) == data
    assert json_text({"b": 1, "a": 2}, sort_keys=True) == '{"a": 2, "b": 1}'
    assert json.loads(json_text({"n": np.int64(3), "v": np.arange(3), "t": np.bool_(True)})) == {
        "n": 3, "v": [0, 1, 2], "t": True,
    }  # fmt: skip
    with pytest.raises(TypeError, match="set cannot be written as JSON"):
        json_text({"s": {1}, "x": np.nan})


@pytest.mark.parametrize("value", ["nan", "inf", None, True, [], {}, "1"])
def test_what_is_no_number_is_not_read_as_one(value):
    with pytest.raises(ValueError, match="is not a number"):
        number(value)


def test_every_report_is_strict():
    class Mine(Report):
        def as_dict(self):
            return {"schema": "x/1", "largest": float("inf"), "all": [np.float32("nan")]}

        def in_short(self):
            return ["x"]

        def blocks(self):
            return [Text("x")]

    assert json.loads(Mine().json(), parse_constant=refuse) == {"schema": "x/1", "largest": "Infinity", "all": ["NaN"]}
