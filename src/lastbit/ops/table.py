"""Every file of operators. Written by `python -m lab pages operators`; do not edit."""

from __future__ import annotations

from .dense.fully_connected import ENTRIES as FULLY_CONNECTED
from .elements.add_sub import ENTRIES as ADD_SUB
from .elements.arg_max import ENTRIES as ARG_MAX
from .elements.dequantize import ENTRIES as DEQUANTIZE
from .elements.hard_swish import ENTRIES as HARD_SWISH
from .elements.leaky_relu import ENTRIES as LEAKY_RELU
from .elements.logistic import ENTRIES as LOGISTIC
from .elements.maximum import ENTRIES as MAXIMUM
from .elements.mean import ENTRIES as MEAN
from .elements.mul import ENTRIES as MUL
from .elements.pool_2d import ENTRIES as POOL_2D
from .elements.quantize import ENTRIES as QUANTIZE
from .elements.relu import ENTRIES as RELU
from .elements.softmax import ENTRIES as SOFTMAX
from .elements.tanh import ENTRIES as TANH
from .moves.concatenation import ENTRIES as CONCATENATION
from .moves.gather import ENTRIES as GATHER
from .moves.mirror_pad import ENTRIES as MIRROR_PAD
from .moves.pack import ENTRIES as PACK
from .moves.pad import ENTRIES as PAD
from .moves.reshape import ENTRIES as RESHAPE
from .moves.resize_nearest_neighbor import ENTRIES as RESIZE_NEAREST_NEIGHBOR
from .moves.shape import ENTRIES as SHAPE
from .moves.slice import ENTRIES as SLICE
from .moves.space_to_batch_nd import ENTRIES as SPACE_TO_BATCH_ND
from .moves.split import ENTRIES as SPLIT
from .moves.squeeze import ENTRIES as SQUEEZE
from .moves.strided_slice import ENTRIES as STRIDED_SLICE
from .moves.transpose import ENTRIES as TRANSPOSE
from .moves.unpack import ENTRIES as UNPACK
from .products.batch_matmul import ENTRIES as BATCH_MATMUL
from .products.conv_2d import ENTRIES as CONV_2D
from .products.depthwise_conv_2d import ENTRIES as DEPTHWISE_CONV_2D
from .products.transpose_conv import ENTRIES as TRANSPOSE_CONV
from .state.variables import ENTRIES as VARIABLES

__all__ = ["FILES"]
FILES = (
    FULLY_CONNECTED,
    ADD_SUB,
    ARG_MAX,
    DEQUANTIZE,
    HARD_SWISH,
    LEAKY_RELU,
    LOGISTIC,
    MAXIMUM,
    MEAN,
    MUL,
    POOL_2D,
    QUANTIZE,
    RELU,
    SOFTMAX,
    TANH,
    CONCATENATION,
    GATHER,
    MIRROR_PAD,
    PACK,
    PAD,
    RESHAPE,
    RESIZE_NEAREST_NEIGHBOR,
    SHAPE,
    SLICE,
    SPACE_TO_BATCH_ND,
    SPLIT,
    SQUEEZE,
    STRIDED_SLICE,
    TRANSPOSE,
    UNPACK,
    BATCH_MATMUL,
    CONV_2D,
    DEPTHWISE_CONV_2D,
    TRANSPOSE_CONV,
    VARIABLES,
)
