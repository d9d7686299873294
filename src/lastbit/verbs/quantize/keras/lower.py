"""Keras layers to the converter's operators, before anything is fused.

Source: keras-team/keras keras/src/layers (what each layer calculates); google-ai-edge/LiteRT
tflite/converter/transforms/legalize_tf.cc and prepare_tf.cc (which operator each TensorFlow operator becomes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....model.errors import ModelError, UnsupportedError
from .activations import activation, check_activation, check_relu, leaky_relu, relu, softmax
from .archive import KerasFile
from .arithmetic import Newton
from .dense_layers import dense, flatten, input_layer, reshape
from .element_layers import add, batch_normalization, concatenate, nothing
from .graph import Node
from .image_layers import check_window, convolution, mean, padding_layer, pool
from .layers import Layer, Network
from .lowering import Lowering, NotCovered

__all__ = ["LAYERS", "lower"]


def lower(network: Network, file: KerasFile, newton: Newton) -> tuple[list[Node], list[Node]]:
    """Lower a network to nodes, each after those that feed it.

    Args:
        network: the layers.
        file: where the weights are.
        newton: how the converter calculates 1/sqrt.

    Returns:
        The nodes, and those that are returned.

    Raises:
        ModelError: a weight is missing or has another shape, or a layer does not fit the one before.
        UnsupportedError: layers that cannot be lowered; all are listed.
    """
    run = Lowering(file, newton, network.batch, network.is_keras_2)
    found: dict[str, Node] = {}
    reasons: dict[tuple[str, ...], str] = {}  # of each layer one, if it is used twice too
    for layer in network.layers:
        sources = [found[name] for name in layer.sources if name in found]
        try:
            _check(layer)
            if len(sources) == len(layer.sources):
                found[layer.name] = _layer(run, layer, sources)
        except NotCovered as reason:
            reasons.setdefault(layer.place, f"{layer.label}: {reason}")
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            text = " ".join(str(error).split())[:120]
            raise ModelError(
                f"{file.path}: {layer.label}: its configuration is damaged ({type(error).__name__}: {text}); save the "
                "model again with model.save()."
            ) from None
    if reasons:
        raise UnsupportedError(
            f"{file.path}: {len(reasons)} of {len({layer.place for layer in network.layers})} layers are not covered",
            tuple(reasons.values()),
            advice=f"Covered are {', '.join(sorted(LAYERS))}.",
        )
    return run.nodes, [found[name] for name in network.outputs]


def _check(layer: Layer) -> None:
    """Refuse a layer of which nothing is known, without looking at what feeds it."""
    if layer.kind not in LAYERS:
        raise NotCovered("its class is not covered")
    is_sum = layer.kind == "Add" and len(layer.sources) > 1  # x + y in Keras 3
    if layer.stranger and not is_sum:
        raise NotCovered(f"its class is from {layer.stranger}, not from keras.layers; only those are covered")
    policy = layer.config.get("dtype", "float32")
    if isinstance(policy, Mapping):
        policy = policy.get("config", {}).get("name")
    if policy not in ("float32", None):
        raise NotCovered(f"calculates in {policy}; float32 is covered")
    if layer.config.get("lora_rank") or layer.config.get("quantization_config"):
        raise NotCovered("has LoRA or quantized weights; plain ones are covered")
    if layer.config.get("data_format", "channels_last") not in ("channels_last", None):
        raise NotCovered("has its channels first; channels_last is covered")
    check_activation(layer)
    if layer.kind in _CHECKS:
        _CHECKS[layer.kind](layer)


def _layer(run: Lowering, layer: Layer, sources: list[Node]) -> Node:
    """Lower one layer."""
    least, most = (0, 0) if layer.kind == "InputLayer" else (2, None) if layer.kind in _SEVERAL else (1, 1)
    if len(sources) < least or (most is not None and len(sources) > most):
        raise ModelError(f"{run.file.path}: {layer.label} has {len(sources)} inputs, wanted {least}.")
    return LAYERS[layer.kind](run, layer, sources)


_CHECKS: dict[str, Callable[[Layer], None]] = {
    "ReLU": check_relu,
    **dict.fromkeys(("AveragePooling2D", "Conv2D", "DepthwiseConv2D", "MaxPooling2D"), check_window),
}
_SEVERAL = ("Add", "Concatenate")
LAYERS: dict[str, Callable[[Lowering, Layer, list[Node]], Node]] = {
    "Activation": activation,
    "Add": add,
    "AveragePooling2D": pool,
    "BatchNormalization": batch_normalization,
    "Concatenate": concatenate,
    "Conv2D": convolution,
    "Dense": dense,
    "DepthwiseConv2D": convolution,
    "Dropout": nothing,
    "Flatten": flatten,
    "GaussianDropout": nothing,
    "GaussianNoise": nothing,
    "GlobalAveragePooling2D": mean,
    "InputLayer": input_layer,
    "LeakyReLU": leaky_relu,
    "MaxPooling2D": pool,
    "ReLU": relu,
    "Reshape": reshape,
    "Softmax": softmax,
    "SpatialDropout2D": nothing,
    "ZeroPadding2D": padding_layer,
}
