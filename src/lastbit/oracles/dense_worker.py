"""The process that a runtime without .tflite files runs in: one dense layer is taken out of the file and handed to it.

Started by its path (`python -P .../dense_worker.py onnxruntime - 1`). Unlike `tflite_worker.py`, whose loop it uses, it
reads the file with LastBit's reader; the arithmetic is the real runtime's.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Wherever this LastBit lies (installed or a checkout), its package is found, and nothing else beside this file.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from lastbit.arith.fixedpoint import quantize_multiplier
from lastbit.model.errors import LastBitError
from lastbit.model.tflite.reader import load
from lastbit.model.types import fused_bounds, integer_type
from lastbit.ops.dense.layer import DenseLayer, dense_layer
from lastbit.oracles.tflite_worker import Array, Header, Packer, Samples, Unfit, check_sample, serve
from lastbit.rules.requantize.fold import activation_bounds

Run = Callable[[Array], Array]
INT8 = ("int8", "int8", "int8")
UINT8 = ("uint8", "uint8", "uint8")
UINT8_BY_INT8 = ("uint8", "int8", "uint8")
INT16 = ("int16", "int8", "int16")
_NOTHING_TOLD: Header = {"operators": [], "delegated": None, "delegated_operators": None}


class DenseInterpreter:
    """What the adapters share: the file is read, one dense layer is taken out, rows go in and come out.

    Attributes:
        types: the element types that the runtime takes: input, weights, output.
    """

    types: tuple[tuple[str, str, str], ...] = (INT8,)

    def prepare(self, layer: DenseLayer) -> Run:
        """The layer made ready in the real runtime: `[rows, depth]` -> `[rows, out]`."""
        raise NotImplementedError

    def run(self, content: bytes, samples: Samples, resize: bool, packer: Packer) -> Header:
        """Prepare once and invoke for each sample; the input may have any leading dimensions."""
        layer = _one_layer(content)
        found = (layer.input.dtype.name, layer.weights.dtype.name, layer.output.dtype.name)
        if found not in self.types:
            raise Unfit(f"input, weights and output are {', '.join(found)}; this runtime takes: {self.types}")
        run = self.prepare(layer)
        for number, arrays in enumerate(samples):
            shape = arrays[0].shape if resize and arrays else layer.input.shape
            check_sample(number, arrays, [{"dtype": layer.input.dtype.numpy, "shape": shape}])
            rows = layer.rows(arrays[0])
            packer.group([np.ascontiguousarray(run(rows)).reshape(layer.output_shape(arrays[0].shape))])
        return dict(_NOTHING_TOLD)


def _one_layer(content: bytes) -> DenseLayer:
    try:
        model = load(content)
        if [op.name for op in model.operators] != ["FULLY_CONNECTED"]:
            names = ", ".join(op.name for op in model.operators)
            raise Unfit(f"this runtime is handed single dense layers; the model has: {names}")
        layer = dense_layer(model, model.operators[0])
    except LastBitError as error:
        raise Unfit(str(error)) from error
    for tensor in (layer.input, layer.weights, layer.output):
        if tensor.quant is None:
            raise Unfit(f"{tensor.label} has no quantization parameters")
    quant = layer.weights.quant
    assert quant is not None
    if quant.per_channel and (quant.zero_point != 0).any():
        raise Unfit("the per-channel weights have zero points that are not 0")
    return layer


class OnnxRuntime(DenseInterpreter):
    """ONNX Runtime on the CPU: QGemm where the layer has a bias, QLinearMatMul where it has none."""

    types = (INT8, UINT8, UINT8_BY_INT8)

    def __init__(self, threads: int) -> None:
        self._onnx: Any = importlib.import_module("onnx")
        self._runtime: Any = importlib.import_module("onnxruntime")
        self._options = self._runtime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.log_severity_level = 3

    def prepare(self, layer: DenseLayer) -> Run:
        """Make a model of one product and, where there is a fused activation, a Clip after it."""
        session = self._runtime.InferenceSession(
            self._model(layer).SerializeToString(), self._options, providers=["CPUExecutionProvider"]
        )
        return lambda rows: np.asarray(session.run(None, {"x": rows})[0])

    def _model(self, layer: DenseLayer) -> Any:
        helper, numpy_helper = self._onnx.helper, self._onnx.numpy_helper
        dtype, weights_dtype = layer.input.dtype.numpy, layer.weights.dtype.numpy
        scale = layer.weights_scale if layer.granularity == "per_channel" else layer.weights_scale[0]
        weights_zero = np.full(np.shape(scale), layer.weights_zero_point, weights_dtype)
        constants = {
            "x_scale": np.asarray(layer.input_scale),
            "x_zero_point": np.asarray(layer.input_zero_point, dtype),
            "w_scale": np.asarray(scale),
            "w_zero_point": weights_zero,
            "y_scale": np.asarray(layer.output_scale),
            "y_zero_point": np.asarray(layer.output_zero_point, dtype),
        }
        low, high = (np.float32(v) for v in fused_bounds(layer.activation))
        limits = layer.activation != "NONE"
        product = "product" if limits else "y"
        operands = ["x", "x_scale", "x_zero_point", "w", "w_scale", "w_zero_point"]
        if layer.bias is not None:
            constants |= {"w": layer.weights_values, "bias": layer.bias_values.astype(np.int32)}
            operands += ["bias", "y_scale", "y_zero_point"]
            nodes = [helper.make_node("QGemm", operands, [product], domain="com.microsoft", transB=1)]
        else:
            constants |= {"w": np.ascontiguousarray(layer.weights_values.T)}
            nodes = [helper.make_node("QLinearMatMul", [*operands, "y_scale", "y_zero_point"], [product])]
        if limits:
            # The bounds are quantized by the runtime itself; an infinite one saturates.
            ends = {"low": low, "high": high}
            constants |= {f"{name}_real": np.asarray(end) for name, end in ends.items()}
            nodes += [
                helper.make_node("QuantizeLinear", [f"{name}_real", "y_scale", "y_zero_point"], [name]) for name in ends
            ]
            nodes.append(helper.make_node("Clip", [product, "low", "high"], ["y"]))
        element = helper.np_dtype_to_tensor_dtype(dtype)
        graph = helper.make_graph(
            nodes,
            "dense",
            [helper.make_tensor_value_info("x", element, [None, layer.depth])],
            [helper.make_tensor_value_info("y", element, [None, layer.units])],
            [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
        )
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


class TorchFbgemm(DenseInterpreter):
    """PyTorch's quantized linear. Signed activations become unsigned: 128 is added to them and to their zero points."""

    types = (INT8, UINT8, UINT8_BY_INT8)

    def __init__(self, threads: int) -> None:
        self._torch: Any = importlib.import_module("torch")
        self._torch.set_num_threads(threads)
        if "fbgemm" not in self._torch.backends.quantized.supported_engines:
            raise RuntimeError("this build of PyTorch has no fbgemm")
        self._torch.backends.quantized.engine = "fbgemm"

    def prepare(self, layer: DenseLayer) -> Run:
        """Pack the weights; the bias is given as the real values float32(bias) * (s_x*s_w)."""
        torch = self._torch
        up = 0 if layer.input.dtype.name == "uint8" else 128
        down = 128 if layer.weights.dtype.name == "uint8" else 0
        weights = torch.from_numpy((layer.weights_values.astype(np.int16) - down).astype(np.int8))
        if layer.granularity == "per_channel":
            scales = torch.from_numpy(layer.weights_scale.astype(np.float64))
            zeros = torch.zeros(layer.units, dtype=torch.int64)
            quantized = torch._make_per_channel_quantized_tensor(weights, scales, zeros, 0)
        else:
            zero_point = layer.weights_zero_point - down
            quantized = torch._make_per_tensor_quantized_tensor(weights, float(layer.weights_scale[0]), zero_point)
        bias = None
        if layer.bias is not None:
            scale = layer.input_scale * layer.weights_scale
            bias = torch.from_numpy(layer.bias_values.astype(np.float32) * scale)
        packed = torch.ops.quantized.linear_prepack(quantized, bias)
        linear = torch.ops.quantized.linear
        if layer.activation != "NONE":
            linear = self._with_relu(layer)
        s_x, s_y = float(layer.input_scale), float(layer.output_scale)
        zx, zy = layer.input_zero_point + up, layer.output_zero_point + up

        def run(rows: Array) -> Array:
            given = torch.from_numpy((rows.astype(np.int16) + up).astype(np.uint8))
            y = linear(torch._make_per_tensor_quantized_tensor(given, s_x, zx), packed, s_y, zy)
            return np.asarray((y.int_repr().numpy().astype(np.int16) - up).astype(rows.dtype))

        return run

    def _with_relu(self, layer: DenseLayer) -> Any:
        """The kernel for a fused activation: with ReLU, or none where the activation limits nothing."""
        dtype = integer_type(layer.output.dtype)
        low, high = activation_bounds(layer.activation, layer.output_scale, layer.output_zero_point, dtype, "half_away")
        if high != dtype.qmax or low not in (dtype.qmin, layer.output_zero_point):
            raise Unfit(
                f"the fused activation {layer.activation} limits the output to {low} .. {high}; there are "
                "quantized.linear and quantized.linear_relu only"
            )
        return self._torch.ops.quantized.linear_relu if low != dtype.qmin else self._torch.ops.quantized.linear


class _Dims(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in "nhwc"]


class _Context(ctypes.Structure):
    _fields_ = [("buf", ctypes.c_void_p), ("size", ctypes.c_int32)]


class _Params(ctypes.Structure):
    """cmsis_nn_fc_params."""

    _fields_ = [
        (name, ctypes.c_int32) for name in ("input_offset", "filter_offset", "output_offset", "minimum", "maximum")
    ]


class _PerTensor(ctypes.Structure):
    _fields_ = [("multiplier", ctypes.c_int32), ("shift", ctypes.c_int32)]


class _PerChannel(ctypes.Structure):
    _fields_ = [("multiplier", ctypes.c_void_p), ("shift", ctypes.c_void_p)]


class CmsisNN(DenseInterpreter):
    """CMSIS-NN in a shared library that the user has built for this machine.

    The multiplier and the shift come from s_x*s_w/s_y in float64, as TensorFlow Lite Micro calculates them.
    """

    types = (INT8, INT16)

    def __init__(self, library: str, rounding: str) -> None:
        self._library = ctypes.CDLL(library)
        # -6 / 4 is a tie: two roundings take it away from zero, one takes it up.
        found = "double" if self._requantized(-6, 2**30, -1) == -2 else "single"
        if found != rounding:
            raise RuntimeError(f"{library} is built for {found} rounding; this runtime is the one with {rounding}")

    def _requantized(self, acc: int, multiplier: int, shift: int) -> int:
        one = np.zeros((1, 1), np.int8)
        params = _Params(0, 0, 0, -128, 127)
        bias = np.asarray([acc], np.int32)
        return int(self._call(one, one, bias, params, _PerTensor(multiplier, shift))[0, 0])

    def _call(
        self, rows: Array, weights: Array, bias: Array | None, params: _Params, quant: _PerTensor | _PerChannel
    ) -> Array:
        granularity = "" if isinstance(quant, _PerTensor) else "per_channel_"
        kernel = getattr(self._library, f"arm_fully_connected_{granularity}s{8 * rows.itemsize}")
        (units, depth), count = weights.shape, rows.shape[0]
        y = np.empty((count, units), rows.dtype)
        dims = (_Dims(count, 1, 1, depth), _Dims(depth, 1, 1, units), _Dims(1, 1, 1, units), _Dims(count, 1, 1, units))
        status = kernel(
            ctypes.byref(_Context(None, 0)),
            ctypes.byref(params),
            ctypes.byref(quant),
            ctypes.byref(dims[0]),
            _pointer(rows),
            ctypes.byref(dims[1]),
            _pointer(weights),
            ctypes.byref(dims[2]),
            None if bias is None else _pointer(bias),
            ctypes.byref(dims[3]),
            _pointer(y),
        )
        if status != 0:
            raise RuntimeError(f"CMSIS-NN returns the status {status}")
        return y

    def prepare(self, layer: DenseLayer) -> Run:
        """Calculate multiplier, shift and bounds as TensorFlow Lite Micro does."""
        factor = np.float64(layer.input_scale) * layer.weights_scale.astype(np.float64) / np.float64(layer.output_scale)
        multiplier, shift = (np.ascontiguousarray(part, np.int32) for part in quantize_multiplier(factor))
        wide = layer.input.dtype.name == "int16"
        if shift.max() > (14 if wide else 30):
            raise Unfit(
                f"an effective scale of 2^{14 if wide else 30} or more, for which the kernel shifts by a negative count"
            )
        if wide and (layer.input_zero_point or layer.output_zero_point or layer.weights_zero_point):
            raise Unfit("arm_fully_connected_s16 takes every zero point to be 0")
        if wide and layer.granularity == "per_channel":
            raise Unfit("arm_fully_connected_per_channel_s16 is not covered")
        if wide and layer.bias is not None and layer.bias.dtype.name != "int64":
            raise Unfit("arm_fully_connected_s16 takes an int64 bias or none")
        if wide and layer.bias is None and layer.operator.options.get("quantized_bias_type") == "int32":
            raise Unfit("arm_fully_connected_s16 has a 64-bit accumulator, and quantized_bias_type says INT32")
        low, high = activation_bounds(
            layer.activation, layer.output_scale, layer.output_zero_point, layer.output.dtype, "half_away"
        )
        params = _Params(-layer.input_zero_point, -layer.weights_zero_point, layer.output_zero_point, low, high)
        quant: _PerTensor | _PerChannel
        if layer.granularity == "per_channel":
            quant = _PerChannel(multiplier.ctypes.data, shift.ctypes.data)
        else:
            quant = _PerTensor(int(multiplier[0]), int(shift[0]))
        weights = np.ascontiguousarray(layer.weights_values)
        bias = None if layer.bias is None else layer.bias_values.astype(np.int64 if wide else np.int32)
        kept = (multiplier, shift)  # the structure holds their addresses only

        def run(rows: Array, kept: object = kept) -> Array:
            return self._call(np.ascontiguousarray(rows), weights, bias, params, quant)

        return run


def _pointer(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def make(kind: str, argument: str, threads: int) -> DenseInterpreter:
    """The adapter: `onnxruntime`, `torch`, or `cmsis-double` and `cmsis-single` with the library's path."""
    if kind == "onnxruntime":
        return OnnxRuntime(threads)
    if kind == "torch":
        return TorchFbgemm(threads)
    return CmsisNN(argument, kind.removeprefix("cmsis-"))


if __name__ == "__main__":
    serve(lambda: make(sys.argv[1], sys.argv[2], int(sys.argv[3])))
