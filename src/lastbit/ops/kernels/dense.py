"""What several families of kernels refuse of dense layers and convolutions, and what users are warned of."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...model.errors import Refusal
from ...rules.base import Pairs
from ...rules.sums.words import pairs_words
from ...runtimes.base import Refused, Runtime
from ..base import PreparedOperator
from ..dense.eight_bit import PreparedDense
from ..dense.hybrid import PreparedHybrid
from ..dense.layer import DenseLayer
from ..products.convolution import Convolution, PreparedConvolution
from ..products.hybrid_convolution import PreparedHybridConvolution
from .base import Check, bias_scale_differs, refused, scale_product

__all__ = [
    "bias_of_convolution",
    "bias_scale",
    "depth_multiplier",
    "finite_scale",
    "hybrid_int4_zero_point",
    "scales_of_hybrid_convolution",
    "weight_notes",
    "zero_points",
]


def zero_points(layer: DenseLayer) -> bool:
    """Whether a zero point of the weights is not 0."""
    return layer.weights.quant is not None and layer.weights.quant.shifted


def finite_scale(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    """No kernel makes a multiplier of an infinite effective scale."""
    if isinstance(prepared, PreparedDense) and not np.isfinite(prepared.requant.effective_scale).all():
        return refused("the effective scale is infinite, which no kernel makes a multiplier of")
    return None


def bias_scale(precision: Literal["float32", "float64"]) -> Check:
    """Refuses a bias whose scale is not input scale times weights scale."""

    def check(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
        if not isinstance(prepared, PreparedDense) or not bias_scale_differs(prepared.layer, precision):
            return None
        layer = prepared.layer
        assert layer.bias is not None
        found = 0.0 if layer.bias.quant is None else float(layer.bias.quant.scale[0])
        return refused(
            f"the bias scale {found!r} is more than 2 % of the output scale away from input scale x weights scale "
            f"= {scale_product(layer, precision)!r}; this kernel refuses such a layer (XNNPACK does not check)"
        )

    return check


def hybrid_int4_zero_point(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    """Hybrid layers take int4 weights without a zero point only."""
    if not isinstance(prepared, PreparedHybrid) or prepared.layer.weights.dtype.name != "int4":
        return None
    return refused("the runtime takes int4 weights with zero point 0 only") if zero_points(prepared.layer) else None


def depth_multiplier(what: str, kind: Refusal = Refusal.RUNTIME) -> Check:
    """Refuses a depth multiplier that does not fit the shapes."""

    def check(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
        if not isinstance(prepared, PreparedConvolution | PreparedHybridConvolution):
            return None
        layer = prepared.convolution
        multiplier = layer.operator.options.get("depth_multiplier")
        fits = layer.channels // layer.input.shape[3]
        if multiplier is None or multiplier == fits:
            return None
        return Refused(kind, f"{what} the depth multiplier {multiplier}; by the shapes it is {fits}")

    return check


def bias_of_convolution(*, needed: bool, scale_checked: bool) -> Check:
    """What LiteRT refuses of a convolution's bias.

    Args:
        needed: whether it crashes on a depthwise convolution without one, except with int16 activations.
        scale_checked: whether the scale of the bias of uint8 layers is checked.
    """

    def check(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
        if not isinstance(prepared, PreparedConvolution | PreparedHybridConvolution):
            return None
        layer, op = prepared.convolution, prepared.convolution.operator
        if layer.bias is None:
            if op.name == "TRANSPOSE_CONV":
                return None
            if op.name == "CONV_2D" or len(op.inputs) > 2:
                return refused("LiteRT refuses a convolution without a bias; TensorFlow Lite Micro takes it")
            # Those with int16 activations go to the reference kernel, which takes them.
            crashes = needed and layer.input.dtype.name != "int16"
            return refused("LiteRT crashes on a depthwise convolution without a bias") if crashes else None
        quant = layer.bias.quant
        # Of several zero points it reads none.
        if quant is not None and quant.scale.size == 1 and quant.shifted:
            return refused("LiteRT refuses a bias with a zero point that is not 0")
        return _bias_scale_of_convolution(layer) if scale_checked and layer.input.dtype.name == "uint8" else None

    return check


def _bias_scale_of_convolution(layer: Convolution) -> Refused | None:
    assert layer.bias is not None
    assert layer.input.quant is not None
    assert layer.weights.quant is not None
    assert layer.output.quant is not None
    product = float(np.float32(layer.input.quant.scale[0]) * np.float32(layer.weights.quant.scale[0]))
    stored = 0.0 if layer.bias.quant is None else float(layer.bias.quant.scale[0])
    if abs(product - stored) / float(layer.output.quant.scale[0]) <= 0.02:
        return None
    return refused(
        f"the bias scale {stored!r} is more than 2 % of the output scale away from input scale x weights "
        f"scale = {product!r}; LiteRT refuses such a uint8 convolution"
    )


def scales_of_hybrid_convolution(prepared: PreparedOperator, runtime: Runtime) -> Refused | None:
    """LiteRT's own kernels read a scale for each channel where there are groups, and in depthwise convolutions."""
    if not isinstance(prepared, PreparedHybridConvolution):
        return None
    layer, quant = prepared.convolution, prepared.convolution.weights.quant
    depthwise = layer.operator.name == "DEPTHWISE_CONV_2D"
    if quant is None or quant.scale.size == layer.channels or (layer.groups == 1 and not depthwise):
        return None
    if depthwise and quant.axis == 0:
        return Refused(
            Refusal.UNDEFINED,
            f"the weights have one scale for {layer.channels} channels along axis 0: LiteRT takes that for enough and "
            "reads scales beyond it",
        )
    return refused(f"LiteRT wants a scale for each of the {layer.channels} channels; the weights have one")


def weight_notes(prepared: PreparedOperator) -> tuple[str, ...]:
    """Warnings about dense layers that hold for every family: zero points, narrow accumulators, saturating pairs."""
    if not isinstance(prepared, PreparedDense):
        return ()
    layer, notes = prepared.layer, []
    if layer.granularity == "per_channel" and zero_points(layer):
        notes.append(
            "the weights have a scale for each unit and zero points that are not 0: this kernel ignores the zero points"
        )
    elif layer.weights_zero_point and layer.weights.dtype.name == "int8" and layer.input.dtype.name == "int8":
        notes.append(
            f"the weights' zero point is {layer.weights_zero_point}, not 0: TensorFlow 2.21's XNNPACK delegate takes "
            "such an int8 layer and ignores that zero point; LiteRT 2.3.0's leaves it to the builtin kernel"
        )
    if prepared.acc_bits < 32:
        low, high = layer.reachable_acc()
        half = 2 ** (prepared.acc_bits - 1)
        beyond = int(((low < -half) | (high >= half)).sum())
        if beyond:
            notes.append(
                f"this kernel's accumulator has {prepared.acc_bits} bits; inputs exist for which it wraps in {beyond} "
                f"of {layer.units} units, where kernels with 32 bits do not"
            )
    if prepared.pairs is not None and isinstance(prepared.products, Pairs):
        words = pairs_words(prepared.products)
        notes.append(
            f"this CPU's kernel adds {words.products} in 16 bits, which {words.overflow}: some inputs make outputs of "
            f"{int(prepared.pairs.units.sum())} of {layer.units} units wrong, where {words.who_is_right} print the "
            f"right ones. {words.what_always_fits}"
        )
    return tuple(notes)
