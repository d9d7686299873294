"""dense: a layer from arrays, for those who have weights and scales and no .tflite file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model.errors import InputError
from ...model.graph import Model, Subgraph
from ...model.tflite.reader import load
from ...model.tflite.synthesize import DTYPE_BY_NAME, dense_subgraph, quant
from ...model.tflite.writer import write
from ...model.types import Array, DType, GivenFactor, IntegerType, QuantParams, fused_bounds, integer_type

__all__ = ["dense"]

_ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
_INTEGERS = ("int8", "uint8", "int16")
_WEIGHTS = ("int8", "uint8", "int4", "int16")
Affine = tuple[float, int] | int | None


def dense(
    weights: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    input: Affine = None,
    weights_scale: npt.ArrayLike | None = None,
    weights_zero_point: int = 0,
    output: Affine = None,
    multiplier: npt.ArrayLike | None = None,
    shift: npt.ArrayLike | None = None,
    activation: str = "NONE",
    activation_range: tuple[int, int] | None = None,
    dtype: str | None = None,
    weights_dtype: str | None = None,
    bias_dtype: str | None = None,
    input_shape: Sequence[int] | None = None,
) -> Model:
    """A model of one dense layer (FULLY_CONNECTED) from arrays; every verb takes it.

    Either from scales: `dense(w, b, input=(s_x, z_x), weights_scale=s_w, output=(s_y, z_y))`. The model's `content` is
    then a .tflite file, which real interpreters run.

    Or from what kernels get instead of scales: `dense(w, b, input=z_x, output=z_y, multiplier=q, shift=n)`, for
    a factor of q * 2**(n - 31). Runtimes that multiply with integers calculate it; those that need the real scale
    refuse it with that reason, and no file can hold it. Kernels are often given -z_x as `input_offset` and z_y as
    `output_offset`.

    Args:
        weights: `[out, in]` integers.
        bias: `[out]` integers in steps of s_x * s_w; None for none.
        input: (scale, zero point); the zero point alone with a multiplier; None for float32 in and out, whose rows are
            quantized as they come (a hybrid layer, "dynamic range").
        weights_scale: one number, or one for each unit. Scales are rounded to float32, as files hold them.
        weights_zero_point: zw, for weights with one scale.
        output: as `input`.
        multiplier: one integer from 0 to 2**31 - 1, or one for each unit. It is not normalized: half the multiplier and
            a shift more is the same factor, and rounds in other places.
        shift: the power of two, positive = left; one or one for each unit.
        activation: the fused activation: `NONE`, `RELU`, `RELU6` or `RELU_N1_TO_1`.
        activation_range: the clamp bounds, quantized, for a layer with a multiplier: it has no scale from which those
            of RELU6 follow.
        dtype: of input and output: `int8`, `uint8` or `int16`; default: uint8 for uint8 weights, else int8.
        weights_dtype: `int8`, `uint8`, `int4` or `int16`; default: uint8 for an array of uint8, else int8.
        bias_dtype: default: int64 for int16 activations, float32 for float32 ones, else int32.
        input_shape: the input's shape, `[..., in]`; default `[1, in]`. Any batch can be given to it all the same.

    Returns:
        The Model: one input, one operator, one output.

    Raises:
        InputError: something does not fit; the message says what.

    >>> import lastbit, numpy as np
    >>> layer = dense([[1, 2], [3, 4]], [1, -1], input=(1, 0), weights_scale=1, output=(1, 0))
    >>> lastbit.run(layer, np.int8([1, 2]), "tflm").output.tolist()
    [[6, 10]]
    >>> given = dense([[1, 2], [3, 4]], [1, -1], input=0, output=0, multiplier=2**30, shift=1)
    >>> lastbit.run(given, np.int8([1, 2]), "tflm").output.tolist()
    [[6, 10]]
    """
    values = _array("weights", weights)
    if values.ndim != 2 or not values.size:
        raise InputError(f"weights: found shape {list(values.shape)}; wanted [out, in]")
    kinds = _Kinds.of(values, input, output, dtype, weights_dtype, bias_dtype)
    stored = _integers("weights", values, integer_type(kinds.weights))
    units = len(values)
    if activation not in _ACTIVATIONS:
        raise InputError(f"activation: found {activation!r}; wanted one of {', '.join(_ACTIVATIONS)}")
    quants = _quantization(kinds, units, input, output, weights_scale, weights_zero_point, multiplier, shift)
    graph = dense_subgraph(
        stored,
        input_quant=quants[0],
        weights_quant=quants[1],
        output_quant=quants[2],
        bias=None if bias is None else _bias(bias, kinds.bias, units),
        activation=activation,
        input_shape=None if input_shape is None else _shape(input_shape, values.shape[1]),
        keep_num_dims=input_shape is not None and np.size(input_shape) > 2,
        input_dtype=kinds.data.name,
        weights_dtype=kinds.weights.name,
        bias_dtype=kinds.bias.name,
    )
    name = f"<dense {values.shape[1]} -> {units}>"
    if multiplier is None:
        if activation_range is not None:
            raise InputError("activation_range: is for a layer with a multiplier; with scales name the activation")
        return replace(load(write(graph, f"dense layer {name} from arrays")), source=name)
    return _given_model(graph, name, activation, activation_range, kinds.data)


@dataclass(frozen=True)
class _Kinds:
    """Element types of the layer: of input and output, of weights and bias."""

    data: DType
    weights: DType
    bias: DType

    @classmethod
    def of(cls, weights: Array, x: Affine, y: Affine, data: str | None, stored: str | None, bias: str | None) -> _Kinds:
        if (x is None) != (y is None):
            raise InputError("input and output: one of them is None; wanted both, or none of them for float32")
        unsigned = weights.dtype == np.uint8
        kept = _named("weights_dtype", stored or ("uint8" if unsigned else "int8"), _WEIGHTS)
        if x is None:
            if data not in (None, "float32"):
                raise InputError(f"dtype: found {data!r} without input and output; give both (scale, zero point)")
            return cls(DTYPE_BY_NAME["float32"], kept, DTYPE_BY_NAME["float32"])
        own = _named("dtype", data or ("uint8" if kept.name == "uint8" else "int8"), _INTEGERS)
        default = "int64" if own.name == "int16" else "int32"
        return cls(own, kept, _named("bias_dtype", bias or default, ("int32", "int64")))


def _named(what: str, name: str, wanted: Sequence[str]) -> DType:
    if name not in wanted:
        raise InputError(f"{what}: found {name!r}; wanted one of {', '.join(wanted)}")
    return DTYPE_BY_NAME[name]


def _array(what: str, value: Any) -> Array:
    try:
        return np.asarray(value)
    except ValueError:
        raise InputError(f"{what}: found sequences of different lengths; wanted an array") from None


def _integers(what: str, values: Array, dtype: IntegerType) -> Array:
    """Whole numbers as a type's own array."""
    low, high = dtype.qmin, dtype.qmax
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all() or (values != np.rint(values)).any():
        raise InputError(f"{what}: found {values.dtype} with values that are not whole; wanted {dtype.name} integers")
    if values.min() < low or values.max() > high:
        raise InputError(f"{what}: {_span(values)} do not fit {dtype.name} ({low} to {high})")
    return values.astype(dtype.numpy)


def _span(values: Array) -> str:
    """The smallest and the largest value, or the one there is."""
    low, high = values.min(), values.max()
    return f"{low}" if low == high or np.isnan(low) else f"{low} to {high}"


def _bias(bias: npt.ArrayLike, dtype: DType, units: int) -> Array:
    values = _array("bias", bias)
    if values.shape != (units,):
        raise InputError(f"bias: found shape {list(values.shape)}; wanted [{units}], one for each row of the weights")
    return _integers("bias", values, dtype) if isinstance(dtype, IntegerType) else values.astype(np.float32)


def _shape(shape: Sequence[int], depth: int) -> tuple[int, ...]:
    if np.ndim(shape) != 1 or len(shape) < 2 or shape[-1] != depth or min(shape) < 1:
        raise InputError(f"input_shape: found {shape!r}; wanted [..., {depth}], the depth last")
    return tuple(int(size) for size in shape)


def _quantization(
    kinds: _Kinds,
    units: int,
    x: Affine,
    y: Affine,
    weights_scale: npt.ArrayLike | None,
    weights_zero_point: int,
    multiplier: npt.ArrayLike | None,
    shift: npt.ArrayLike | None,
) -> tuple[QuantParams | None, QuantParams, QuantParams | None]:
    """That of input, weights and output, from scales or from multiplier and shift."""
    if (multiplier is None) != (shift is None):
        raise InputError("multiplier and shift: one of them is missing; give both")
    if multiplier is not None and weights_scale is not None:
        raise InputError("found both a multiplier and scales; give one of them")
    if multiplier is None and weights_scale is None:
        raise InputError("found neither weights_scale nor multiplier and shift; give one of them")
    given = None
    if multiplier is not None and shift is not None:
        if x is None:
            raise InputError("a multiplier is given and input is None; give the input's and the output's zero points")
        given = _factors(multiplier, shift, units)
        scales = given.factor
    else:
        scales = _scales("weights_scale", _array("weights_scale", weights_scale), units)
    zero_point = _zero_point("weights_zero_point", weights_zero_point, kinds.weights)
    if zero_point and scales.size > 1:
        raise InputError(f"weights_zero_point: found {zero_point} with {scales.size} scales; wanted 0")
    known = given is None
    weights = QuantParams(scales, np.full(scales.shape, zero_point, np.int64), known=known, given=given)
    return _affine("input", x, kinds.data, known), weights, _affine("output", y, kinds.data, known)


def _affine(what: str, value: Any, dtype: DType, known: bool) -> QuantParams | None:
    """Scale and zero point of the input or output; 1 stands for a scale that is not known."""
    if value is None:
        return None
    found = _array(what, value)
    if not known and found.ndim:
        raise InputError(f"{what}: found {value!r} beside a multiplier; wanted the zero point alone")
    if known and (found.shape != (2,) or found.dtype.kind not in "iuf"):
        raise InputError(f"{what}: found {value!r}; wanted (scale, zero point)")
    scale, zero_point = list(value) if known else (1.0, value)
    scales = _scales(f"{what}'s scale", np.asarray(scale), 1)
    return replace(quant(scales, _zero_point(f"{what}'s zero point", zero_point, dtype)), known=known)


def _scales(what: str, values: Array, units: int) -> npt.NDArray[np.float32]:
    if values.dtype.kind not in "iuf" or values.size not in (1, units) or values.ndim > 1:
        wanted = "one number" if units == 1 else f"one number or {units}, one for each unit"
        raise InputError(f"{what}: found {values.dtype} of shape {list(values.shape)}; wanted {wanted}")
    with np.errstate(over="ignore"):
        scales = np.atleast_1d(values).astype(np.float32)
    if not np.isfinite(scales).all() or (scales <= 0).any():
        raise InputError(f"{what}: found {_span(values)}; wanted float32 numbers above 0")
    return scales


def _zero_point(what: str, value: Any, dtype: DType) -> int:
    if not isinstance(dtype, IntegerType):
        return 0
    return int(_integers(what, np.asarray(value), dtype))


def _factors(multiplier: npt.ArrayLike, shift: npt.ArrayLike, units: int) -> GivenFactor:
    """Multiplier and shift, of the same shape each."""
    found = {"multiplier": _array("multiplier", multiplier), "shift": _array("shift", shift)}
    for what, values in found.items():
        if values.dtype.kind not in "iu" or values.size not in (1, units) or values.ndim > 1:
            raise InputError(
                f"{what}: found {values.dtype} of shape {list(values.shape)}; wanted one integer, or {units}"
            )
    q, n = (np.atleast_1d(values).astype(np.int64) for values in found.values())
    if (q < 0).any() or (q >= 2**31).any():
        raise InputError(f"multiplier: found {_span(q)}; wanted 0 to 2**31 - 1, as kernels assert")
    if (n < -31).any() or (n > 30).any():
        raise InputError(f"shift: found {_span(n)}; wanted -31 to 30, positive = left")
    q, n = np.broadcast_arrays(q, n)
    return GivenFactor(q.copy(), n.copy())


def _given_model(graph: Subgraph, name: str, activation: str, bounds: tuple[int, int] | None, dtype: DType) -> Model:
    """The model of a layer without scales. Its content identifies it; it is not a file."""
    if bounds is not None:
        if np.shape(bounds) != (2,):
            raise InputError(f"activation_range: found {bounds!r}; wanted (smallest, largest)")
        low, high = (_zero_point("activation_range", bound, dtype) for bound in bounds)
        if low > high:
            raise InputError(f"activation_range: found {tuple(bounds)}; wanted (smallest, largest)")
        options = {**graph.operators[0].options, "activation_range": (low, high)}
        graph = replace(graph, operators=(replace(graph.operators[0], options=options),))
    elif any(np.isfinite(bound) and bound != 0 for bound in fused_bounds(activation)):
        raise InputError(
            f"activation {activation}: its bounds need the output's scale; give activation_range=(low, high)"
        )
    digest = hashlib.sha256(repr(graph.operators).encode())
    for tensor in graph.tensors:
        digest.update(repr((tensor.dtype, tensor.shape)).encode())
        held = [tensor.data]
        if tensor.quant is not None:
            held += [tensor.quant.zero_point]
            if tensor.quant.given is not None:
                held += [tensor.quant.given.multiplier, tensor.quant.given.shift]
        for array in held:
            digest.update(b"" if array is None else array.tobytes())
    return Model((graph,), f"dense layer {name} by multiplier and shift", 3, b"lastbit dense " + digest.digest(), name)
