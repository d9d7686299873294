"""The names that users give to a layer's numbers, and which number each is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

__all__ = [
    "PARAMETERS",
    "could_mean",
    "meanings",
    "nearest",
    "numbered",
    "other_readings",
    "role_of",
    "suggested",
    "words_of",
]

# fmt: off
PARAMETERS: dict[str, tuple[str, ...]] = {
    "x": ("x", "input", "inputs", "input_data", "q_input", "x_q", "qx", "activations", "input_tensor", "x_int8", "din"),
    "weights": (
        "w", "weights", "weight", "kernel", "filter", "filters", "w_q", "qw", "q_weights", "weight_tensor",
        "weights_tensor", "w_int8",
    ),
    "bias": ("b", "bias", "biases", "bias_q", "qb", "bias_tensor", "bias_int32"),
    "minus_input_zero_point": ("input_offset", "in_offset", "src_offset", "lhs_offset"),
    "minus_weights_zero_point": ("weights_offset", "weight_offset", "filter_offset", "kernel_offset", "rhs_offset"),
    "input_scale": (
        "s_x", "sx", "s_i", "input_scale", "x_scale", "scale_x", "scale_in", "in_scale", "scale_input",
        "scale_inputs",
    ),
    "weights_scale": (
        "s_w", "sw", "weights_scale", "weight_scale", "weights_scales", "weight_scales", "w_scale",
        "w_scales", "scale_w", "scales_w", "scales", "filter_scale", "filter_scales", "kernel_scale",
        "kernel_scales", "scale_weight", "scale_weights",
    ),
    "output_scale": (
        "s_y", "sy", "s_o", "output_scale", "y_scale", "scale_y", "scale_out", "out_scale", "scale_output",
    ),
    "input_zero_point": (
        "z_x", "zx", "input_zero_point", "x_zero_point", "zero_point_x", "zp_x", "zp_in", "input_zp",
        "zp_input", "x_zp", "zero_point_in", "zero_point_input", "zp_i", "z_i",
    ),
    "weights_zero_point": (
        "z_w", "zw", "weights_zero_point", "weight_zero_point", "w_zero_point", "zero_point_w", "zp_w",
        "weights_zp", "weight_zp", "filter_zero_point", "zp_weight", "zp_weights", "w_zp",
        "zero_point_weight", "zero_point_weights",
    ),
    "output_zero_point": (
        "z_y", "zy", "output_zero_point", "y_zero_point", "zero_point_y", "zp_y", "zp_out", "output_zp",
        "zp_output", "y_zp", "zero_point_out", "zero_point_output", "zp_o", "z_o", "output_offset", "out_offset",
        "dst_offset",
    ),
    "bias_scale": ("s_b", "sb", "bias_scale", "b_scale", "scale_b", "scale_bias"),
    "effective_scale": ("m", "effective_scale", "effective_scales", "factor", "real_multiplier", "rescale"),
    "multiplier": (
        "q", "multiplier", "multipliers", "quantized_multiplier", "m0", "mult", "mults", "output_multiplier",
        "output_multipliers", "out_mult", "dst_multiplier", "dst_multipliers",
    ),
    "shift": (
        "shift", "shifts", "exponent", "n", "output_shift", "output_shifts", "out_shift", "dst_shift", "dst_shifts",
    ),
    "right_shift": ("right_shift", "right_shifts", "rshift", "shift_right"),
    "total_right_shift": ("total_right_shift", "total_shift"),
    "activation_min": ("lo", "low", "activation_min", "output_min", "qmin", "y_min"),
    "activation_max": ("hi", "high", "activation_max", "output_max", "qmax", "y_max"),
}
# fmt: on
"""What a function can ask for -> the parameter names that it goes by. Names made of the same words in another order or
spelling (`fc_weight`, `in_zp`, `scaleOut`, `W0`) do as well.

x: the layer's input type, `[rows, depth]`; weights: `[out, depth]` as stored; bias: int32 `[out]`, zeros where the
layer has none; scales: float32, weights_scale and bias_scale `[1]` or `[out]`; zero points: Python int;
effective_scale: float64 `[1]` or `[out]`, all in float64; multiplier and shift: int32 of the same shape, shift positive
= left; right_shift: -shift, after the high half of the product; total_right_shift: 31 - shift, of the whole product;
minus_input_zero_point: what TensorFlow Lite Micro and CMSIS-NN call the input's offset, to be added; activation bounds:
int.
"""

_OF_OFFSETS = {
    "minus_input_zero_point": "input_zero_point",
    "minus_weights_zero_point": "weights_zero_point",
}
"""What an offset may be instead: some code subtracts it."""

_OF_SHIFTS = {
    "shift": ("right_shift", "total_right_shift"),
    "right_shift": ("total_right_shift", "shift"),
}
"""What a shift may be instead, in code that shifts the product to the right."""

_BY_NAME = {alias: meaning for meaning, aliases in PARAMETERS.items() for alias in aliases}

_TENSORS = {
    word: tensor
    for tensor, words in {
        "input": "x in input inputs act acts activation activations lhs img image images ifm sample a",
        "weights": "w wt wts weight weights kernel kernels filter filters wgt wgts rhs",
        "output": "y out output outputs res result dst ofm",
        "bias": "b bias biases",
    }.items()
    for word in words.split()
}
_SCALE = ("s", "scale", "scales")
_ZERO_POINT = ("z", "zp", "zero", "zeropoint", "zeros")
# fmt: off
_SAY_NOTHING = (
    "q", "qx", "int", "uint", "i", "u", "fc", "dense", "conv", "layer", "tensor", "data", "array", "arr", "np", "point",
    "points", "quantized",
)
# fmt: on
"""Words that name no tensor and no role."""


def meanings(names: Iterable[str]) -> dict[str, str]:
    """What each parameter name means, a key of PARAMETERS; those that mean nothing known are left out.

    Of two names that mean the same, the first keeps it. Where one is called a, as in ONNX (a, b, y), b is the weights.

    >>> meanings(["q_in", "W0", "b0", "zpOut", "s1"])
    {'q_in': 'x', 'W0': 'weights', 'b0': 'bias', 'zpOut': 'output_zero_point'}
    """
    asked = list(names)
    letters = any("a" in words_of(name) for name in asked)
    found: dict[str, str] = {}
    for name in asked:
        meaning = None if letters and "b" in words_of(name) else _BY_NAME.get(name.lower())
        meaning = meaning or _by_words(name, letters)
        if meaning is not None and meaning not in found.values():
            found[name] = meaning
    return found


def words_of(name: str) -> list[str]:
    """The words of a name: at underscores, digits and capitals."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def _by_words(name: str, letters: bool) -> str | None:
    words = [word for word in words_of(name) if word not in _SAY_NOTHING]
    tensors = {"weights" if letters and word == "b" else _TENSORS[word] for word in words if word in _TENSORS}
    roles = {word in _SCALE for word in words if word in (*_SCALE, *_ZERO_POINT)}
    unknown = [word for word in words if word not in _TENSORS and word not in (*_SCALE, *_ZERO_POINT)]
    if unknown or len(tensors) != 1 or len(roles) > 1:
        return None
    tensor = tensors.pop()
    if not roles:
        return {"input": "x", "weights": "weights", "bias": "bias"}.get(tensor)
    meaning = tensor + ("_scale" if roles.pop() else "_zero_point")
    return meaning if meaning in PARAMETERS else None


def numbered(names: Iterable[str]) -> dict[str, str]:
    """What names with a number may mean: 1 is the input, 2 the weights, 3 the output.

    >>> numbered(["s1", "z_3", "scale2", "q2", "k1"])
    {'s1': 'input_scale', 'z_3': 'output_zero_point', 'scale2': 'weights_scale', 'q2': 'weights'}

    Source: Jacob et al., Quantization and Training of Neural Networks, section 2.2: q1, S1, Z1 and so on.
    """
    found = {}
    for name in names:
        parts = re.fullmatch(r"([a-z]+)_?([123])", name.lower())
        if parts is None:
            continue
        if parts[1] == "q" and parts[2] != "3":
            found[name] = "x" if parts[2] == "1" else "weights"
        elif parts[1] in (*_SCALE, *_ZERO_POINT):
            role = "scale" if parts[1] in _SCALE else "zero_point"
            found[name] = f"{('input', 'weights', 'output')[int(parts[2]) - 1]}_{role}"
    return found


def other_readings(known: Mapping[str, str]) -> list[dict[str, str]]:
    """What parameters may mean whose names leave it open, other than what is known: offsets and shifts.

    >>> other_readings({"x": "x", "rshift": "right_shift"})
    [{'rshift': 'total_right_shift'}, {'rshift': 'shift'}]
    """
    offsets = {name: _OF_OFFSETS[meaning] for name, meaning in known.items() if meaning in _OF_OFFSETS}
    shifts = [{name: other} for name, meaning in known.items() for other in _OF_SHIFTS.get(meaning, ())]
    signs: list[dict[str, str]] = [{}, offsets] if offsets else [{}]
    return [sign | width for sign in signs for width in ({}, *shifts) if sign or width]


def could_mean(name: str, free: Iterable[str]) -> list[str]:
    """Of these meanings those that a name of unknown meaning may have: a scale is no zero point.

    >>> could_mean("s", ["x", "bias", "weights_scale"])
    ['weights_scale']
    """
    role = role_of(name)
    return [meaning for meaning in free if role is None or meaning.endswith(role)]


def role_of(name: str) -> str | None:
    """`scale` or `zero_point` where a name has a word for it.

    >>> role_of("s1"), role_of("zpOut"), role_of("fc_weight")
    ('scale', 'zero_point', None)
    """
    words = set(words_of(name))
    return "scale" if words & set(_SCALE) else "zero_point" if words & set(_ZERO_POINT) else None


def suggested(names: Iterable[str], free: Collection[str]) -> dict[str, str]:
    """What each of these names of unknown meaning may be, no two the same as far as there are others.

    >>> suggested(["s_3", "kern", "foo"], ["x", "weights", "output_scale"])
    {'s_3': 'output_scale', 'kern': 'weights', 'foo': 'x'}
    """
    asked, left = list(names), list(free)
    found = {name: meaning for name, meaning in numbered(asked).items() if meaning in left}
    for name in sorted(asked, key=lambda name: -_likeness(name, left)):
        if name not in found:
            others = [meaning for meaning in left if meaning not in found.values()]
            found[name] = nearest(name, could_mean(name, others) or others or left)
    return {name: found[name] for name in asked}


def _likeness(name: str, free: Collection[str]) -> float:
    """How much a name is like the names that the likest of these meanings goes by."""
    known = [alias for meaning in free for alias in (meaning, *PARAMETERS.get(meaning, ()))]
    return max((difflib.SequenceMatcher(None, name.lower(), alias).ratio() for alias in known), default=0.0)


def nearest(name: str, free: Collection[str], known: Mapping[str, tuple[str, ...]] = PARAMETERS) -> str:
    """The meaning in `free` that has the most similar name; the first of them where nothing is similar.

    >>> nearest("inptu_scale", ["weights", "input_scale"])
    'input_scale'
    """
    names = {alias: meaning for meaning in free for alias in (meaning, *known.get(meaning, ()))}
    close = difflib.get_close_matches(name.lower(), names, 1, 0.0)
    return names[close[0]] if close else next(iter(free), "x")
