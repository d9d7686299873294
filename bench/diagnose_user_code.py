"""Does `lastbit diagnose` name what is wrong in code as users write it?

    python bench/diagnose_user_code.py [--only PART] [--show]

Runs it over every implementation of bench/user_code/ and compares the names with those that were written down
before. "named" means exactly the expected mistakes, and no other; "false alarm" that right code is called wrong. An
error of any kind is "refused", and counts as not named.
"""

from __future__ import annotations

import argparse
import inspect
import math
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from user_code import (  # noqa: E402
    convolutions,
    dense_int8,
    dense_more,
    dense_other,
    hybrid,
    networks,
    second_convolutions,
    second_dense,
    second_networks,
    third_convolutions,
    third_dense,
    third_others,
)
from user_code.case import Case  # noqa: E402
from user_layers import model_of, numbers_of  # noqa: E402

import lastbit  # noqa: E402
from lastbit.model.errors import LastBitError  # noqa: E402

FIRST = (dense_int8, dense_more, dense_other, hybrid, convolutions, networks)
SECOND = (second_dense, second_convolutions, second_networks)
THIRD = (third_dense, third_convolutions, third_others)
CASES: list[Case] = [case for part in (*FIRST, *SECOND, *THIRD) for case in part.CASES]

NAMES = {
    name: meaning
    for meaning, names in {
        "weights": "q_w fc_weight w filter weights wgt b2 q2 W0 filters kernel filter_data",
        "bias": "bias b bias_q b0 bias_data",
        "input_scale": "s_in x_scale s_x input_scale a_scale s1",
        "weights_scale": "s_w weight_scale weight_scales b_scale s2 scale w_scale kernel_scale",
        "output_scale": "s_out out_scale s_y output_scale y_scale s3",
        "zx": "zp_in z_x input_zp zero_point_in in_zp zp_x zx a_zero_point z1 zp_i input_offset",
        "zw": "zp_w z_w zw b_zero_point z2",
        "zy": "zp_out z_y output_zp zero_point_out out_zp zp_y zy y_zero_point z3 output_zero_point zp_o output_offset",
        "m": "effective_scale m",
        "multiplier": "multiplier m0 mult output_multiplier",
        "shift": "shift rshift output_shift",
    }.items()
    for name in names.split()
}
"""What the parameters of these functions mean; for `--check` alone."""


def function_of(case: Case) -> Callable[..., Any]:
    """What is diagnosed: the function, or what its maker gives for the file's numbers."""
    if not case.made:
        return case.function
    numbers = numbers_of(model_of(case.layer))
    made: Callable[..., Any] = case.function(numbers if len(numbers) > 1 else numbers[0])
    return made


def images(case: Case, count: int, seed: int = 1) -> np.ndarray:
    """Random inputs of a model."""
    tensor = model_of(case.layer).inputs[0]
    rng = np.random.default_rng(seed)
    shape = (count, *tensor.shape[1:])
    if case.real_input or tensor.dtype.name == "float32":
        return rng.uniform(-6, 6, shape).astype(np.float32)
    info = np.iinfo(tensor.dtype.numpy)
    return rng.integers(info.min, info.max, shape, tensor.dtype.numpy, endpoint=True)


def diagnosed(case: Case) -> Any:
    """What LastBit says of it."""
    model, function = model_of(case.layer), function_of(case)
    if not case.as_array:
        try:
            return lastbit.diagnose(model, None, function)
        except lastbit.InputError:
            if not case.params:
                raise
            return lastbit.diagnose(model, None, function, params=case.params)
    x = images(case, 40)
    values = arguments(case, function)
    mine = np.stack([np.asarray(function(row, **values)) for row in x])
    return lastbit.diagnose(model, x, mine, quantize_input=case.real_input)


def arguments(case: Case, function: Callable[..., Any]) -> dict[str, Any]:
    """The file's numbers by the names that functions of this folder ask for, the first parameter left out."""
    p = numbers_of(model_of(case.layer))[0]
    factor = p["input_scale"] * p["weights_scale"].astype(np.float64) / p["output_scale"]
    multiplier, shift = zip(*map(as_fixed_point, np.atleast_1d(factor)), strict=True)
    values = p | {"m": factor, "multiplier": np.array(multiplier), "shift": np.array(shift)}
    asked = parameters(function)[1:]
    names = NAMES | ({"b": "weights"} if {"b", "bias"} <= set(asked) else {})
    return {name: values[names[name]] for name in asked if name in names}


def parameters(function: Callable[..., Any]) -> list[str]:
    """Their names, in order."""
    return list(inspect.signature(function).parameters)


def as_fixed_point(factor: float) -> tuple[int, int]:
    """A factor as a multiplier of 31 bits and a shift, positive to the left."""
    fraction, exponent = math.frexp(factor)
    return round(fraction * 2**31), exponent


def checked(case: Case) -> str:
    """Whether it runs, and is right where it should be: without `diagnose`, by the runtimes' own outputs."""
    model, function = model_of(case.layer), function_of(case)
    if "weights" not in numbers_of(model)[0]:
        return "an operator without weights: not checked"
    x = images(case, 12)
    given = x.reshape(-1, *np.shape(x)[-1:]) if case.layer.startswith("fc") and not case.as_array else x
    values = {} if case.made else arguments(case, function)
    missing = set(parameters(function)[1:]) - set(values)
    if missing:
        return f"no value for {missing}"
    with np.errstate(all="ignore"):
        try:
            made = function(given, **values)
            mine = np.asarray(list(made.values())[-1] if isinstance(made, dict) else made)
        except Exception:
            mine = np.stack([np.asarray(function(row, **values)) for row in given])
    shares = {}
    for runtime in ("litert-xnnpack", "litert-reference", "litert-builtin", "tflm", "cmsis-nn-single-rounding"):
        try:
            right = lastbit.run(model, x, runtime=runtime, quantize_input=case.real_input).output
        except LastBitError:
            continue
        if right.size != mine.size:
            return f"size {mine.size}, wanted {right.size}"
        near = np.isclose(right.ravel(), mine.ravel(), 1e-6) if right.dtype.kind == "f" else None
        shares[runtime] = float((right.ravel() == mine.ravel() if near is None else near).mean())
    best = max(shares.values())
    nearest = max(shares, key=lambda name: shares[name])
    return f"{'right' if best == 1 else 'wrong'}, {100 * best:.2f} % of {mine.size} as {nearest}"


def names_of(report: Any) -> tuple[str, ...] | None:
    """The names that a report gives; None where it gives none."""
    if report.verdict in ("unexplained", "unreadable"):
        return None
    names = tuple(mistake.name for mistake in report.mistakes)
    return ("rows_unwritten", *names) if report.verdict == "unwritten" else names


def judged(case: Case) -> tuple[str, str, float]:
    """Outcome, what was said, seconds."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = names_of(diagnosed(case))
    except LastBitError as error:
        return "refused", str(error).splitlines()[0], time.perf_counter() - start
    except Exception as error:  # a fault of ours counts as one
        return "CRASH", f"{type(error).__name__}: {error}", time.perf_counter() - start
    seconds = time.perf_counter() - start
    if names is None:
        return "not named", "nothing fits", seconds
    said = ", ".join(names) or "right"
    accepted = [set(case.expected), *map(set, case.also)]
    if set(names) in accepted:
        return "named", said, seconds
    return ("not named" if case.expected else "false alarm"), said, seconds


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--check", action="store_true", help="do not diagnose: print which are right by the runtimes")
    parser.add_argument("--show", action="store_true", help="print every report")
    args = parser.parse_args()
    found: dict[str, Counter[str]] = {}
    for case in CASES:
        if args.only not in case.name:
            continue
        if args.check:
            print(f"{case.name:44} {', '.join(case.expected) or 'right':40} {checked(case)}")
            continue
        outcome, said, seconds = judged(case)
        found.setdefault(case.name.partition(".")[0], Counter())[outcome] += 1
        mark = " " if outcome == "named" else "*"
        print(f"{mark} {case.name:44} {outcome:11} {seconds:6.2f} s  {said[:110]}")
        if outcome != "named":
            print(f"      wanted: {', '.join(case.expected) or 'right'}")
        if args.show and outcome not in ("refused", "CRASH"):
            print(diagnosed(case))
    if args.check:
        return
    total: Counter[str] = Counter()
    for part, outcomes in found.items():
        total += outcomes
        print(f"{part}: {outcomes['named']} of {outcomes.total()} named; {dict(outcomes)}")
    share = 100 * total["named"] / max(total.total(), 1)
    print(f"all: {total['named']} of {total.total()} named ({share:.1f} %); {dict(total)}")


if __name__ == "__main__":
    main()
