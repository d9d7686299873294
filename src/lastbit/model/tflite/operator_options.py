"""The schema's options of the operators. Written by `python -m lab pages operators`; do not edit."""

from __future__ import annotations

from .option_tables import OptionTable

__all__ = ["TABLES"]
TABLES = {
    "ADD": OptionTable(
        11, "AddOptions", (("fused_activation_function", "activation", "NONE"), ("pot_scale_int16", "bool", True))
    ),
    "ARG_MAX": OptionTable(40, "ArgMaxOptions", (("output_type", "dtype", "float32"),)),
    "ARG_MIN": OptionTable(57, "ArgMinOptions", (("output_type", "dtype", "float32"),)),
    "ASSIGN_VARIABLE": OptionTable(113, "AssignVariableOptions"),
    "AVERAGE_POOL_2D": OptionTable(
        5,
        "Pool2DOptions",
        (
            ("padding", "padding", "SAME"),
            ("stride_w", "i32", 0),
            ("stride_h", "i32", 0),
            ("filter_width", "i32", 0),
            ("filter_height", "i32", 0),
            ("fused_activation_function", "activation", "NONE"),
        ),
    ),
    "BATCH_MATMUL": OptionTable(
        101,
        "BatchMatMulOptions",
        (("adj_x", "bool", False), ("adj_y", "bool", False), ("asymmetric_quantize_inputs", "bool", False)),
    ),
    "BATCH_TO_SPACE_ND": OptionTable(24, "BatchToSpaceNDOptions"),
    "CALL_ONCE": OptionTable(103, "CallOnceOptions", (("init_subgraph_index", "i32", 0),)),
    "CONCATENATION": OptionTable(
        10, "ConcatenationOptions", (("axis", "i32", 0), ("fused_activation_function", "activation", "NONE"))
    ),
    "CONV_2D": OptionTable(
        1,
        "Conv2DOptions",
        (
            ("padding", "padding", "SAME"),
            ("stride_w", "i32", 0),
            ("stride_h", "i32", 0),
            ("fused_activation_function", "activation", "NONE"),
            ("dilation_w_factor", "i32", 1),
            ("dilation_h_factor", "i32", 1),
            ("quantized_bias_type", "dtype", "float32"),
        ),
    ),
    "DEPTHWISE_CONV_2D": OptionTable(
        2,
        "DepthwiseConv2DOptions",
        (
            ("padding", "padding", "SAME"),
            ("stride_w", "i32", 0),
            ("stride_h", "i32", 0),
            ("depth_multiplier", "i32", 0),
            ("fused_activation_function", "activation", "NONE"),
            ("dilation_w_factor", "i32", 1),
            ("dilation_h_factor", "i32", 1),
        ),
    ),
    "DEQUANTIZE": OptionTable(38, "DequantizeOptions"),
    "EXPAND_DIMS": OptionTable(52, "ExpandDimsOptions"),
    "FILL": OptionTable(68, "FillOptions"),
    "FULLY_CONNECTED": OptionTable(
        8,
        "FullyConnectedOptions",
        (
            ("fused_activation_function", "activation", "NONE"),
            ("weights_format", "weights_format", "DEFAULT"),
            ("keep_num_dims", "bool", False),
            ("asymmetric_quantize_inputs", "bool", False),
            ("quantized_bias_type", "dtype", "float32"),
        ),
    ),
    "GATHER": OptionTable(23, "GatherOptions", (("axis", "i32", 0), ("batch_dims", "i32", 0))),
    "HARD_SWISH": OptionTable(91, "HardSwishOptions"),
    "LEAKY_RELU": OptionTable(75, "LeakyReluOptions", (("alpha", "f32", 0.0),)),
    "LOGISTIC": OptionTable(0, ""),
    "MAXIMUM": OptionTable(39, "MaximumMinimumOptions"),
    "MAX_POOL_2D": OptionTable(
        5,
        "Pool2DOptions",
        (
            ("padding", "padding", "SAME"),
            ("stride_w", "i32", 0),
            ("stride_h", "i32", 0),
            ("filter_width", "i32", 0),
            ("filter_height", "i32", 0),
            ("fused_activation_function", "activation", "NONE"),
        ),
    ),
    "MEAN": OptionTable(27, "ReducerOptions", (("keep_dims", "bool", False),)),
    "MINIMUM": OptionTable(39, "MaximumMinimumOptions"),
    "MIRROR_PAD": OptionTable(77, "MirrorPadOptions", (("mode", "mirror", "REFLECT"),)),
    "MUL": OptionTable(21, "MulOptions", (("fused_activation_function", "activation", "NONE"),)),
    "PACK": OptionTable(59, "PackOptions", (("values_count", "i32", 0), ("axis", "i32", 0))),
    "PAD": OptionTable(22, "PadOptions"),
    "PADV2": OptionTable(43, "PadV2Options"),
    "QUANTIZE": OptionTable(89, "QuantizeOptions"),
    "READ_VARIABLE": OptionTable(112, "ReadVariableOptions"),
    "RELU": OptionTable(0, ""),
    "RELU6": OptionTable(0, ""),
    "RELU_N1_TO_1": OptionTable(0, ""),
    "RESHAPE": OptionTable(17, "ReshapeOptions", (("new_shape", "[i32]", ()),)),
    "RESIZE_NEAREST_NEIGHBOR": OptionTable(
        74, "ResizeNearestNeighborOptions", (("align_corners", "bool", False), ("half_pixel_centers", "bool", False))
    ),
    "SHAPE": OptionTable(55, "ShapeOptions", (("out_type", "dtype", "float32"),)),
    "SLICE": OptionTable(48, "SliceOptions"),
    "SOFTMAX": OptionTable(9, "SoftmaxOptions", (("beta", "f32", 0.0),)),
    "SPACE_TO_BATCH_ND": OptionTable(25, "SpaceToBatchNDOptions"),
    "SPLIT": OptionTable(35, "SplitOptions", (("num_splits", "i32", 0),)),
    "SPLIT_V": OptionTable(79, "SplitVOptions", (("num_splits", "i32", 0),)),
    "SQUEEZE": OptionTable(30, "SqueezeOptions", (("squeeze_dims", "[i32]", ()),)),
    "STRIDED_SLICE": OptionTable(
        32,
        "StridedSliceOptions",
        (
            ("begin_mask", "i32", 0),
            ("end_mask", "i32", 0),
            ("ellipsis_mask", "i32", 0),
            ("new_axis_mask", "i32", 0),
            ("shrink_axis_mask", "i32", 0),
            ("offset", "bool", False),
        ),
    ),
    "SUB": OptionTable(
        28, "SubOptions", (("fused_activation_function", "activation", "NONE"), ("pot_scale_int16", "bool", True))
    ),
    "SUM": OptionTable(27, "ReducerOptions", (("keep_dims", "bool", False),)),
    "TANH": OptionTable(0, ""),
    "TRANSPOSE": OptionTable(26, "TransposeOptions"),
    "TRANSPOSE_CONV": OptionTable(
        49,
        "TransposeConvOptions",
        (
            ("padding", "padding", "SAME"),
            ("stride_w", "i32", 0),
            ("stride_h", "i32", 0),
            ("fused_activation_function", "activation", "NONE"),
            ("quantized_bias_type", "dtype", "float32"),
        ),
    ),
    "UNPACK": OptionTable(64, "UnpackOptions", (("num", "i32", 0), ("axis", "i32", 0))),
    "VAR_HANDLE": OptionTable(111, "VarHandleOptions", (("container", "str", ""), ("shared_name", "str", ""))),
}
"""Operator -> its options; a code of 0 where it has none."""
