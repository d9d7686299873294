"""The reader: what it reads, and that only LastBit's own errors come out of damaged files."""

from __future__ import annotations

import mmap
import random
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lastbit import inspect, run
from lastbit.model.errors import InputError, LastBitError, ModelError
from lastbit.model.graph import Model, Operator, Subgraph, Tensor
from lastbit.model.tflite import extract_operator, load, write
from lastbit.model.tflite.writer import _Writer
from lastbit.model.types import DTYPES, DType, QuantParams
from lastbit.ops.prepare import prepare

MODELS = Path(__file__).resolve().parents[4] / "shared" / "models"
MALFORMED = "cpetig_hello_world_5"
BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}

needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not here")


def quant(scale: Any = 0.5, zero_point: Any = 0, axis: int = 0) -> QuantParams:
    return QuantParams(
        np.atleast_1d(np.asarray(scale, np.float32)), np.atleast_1d(np.asarray(zero_point, np.int64)), axis
    )


def tensor(index: int, dtype: str, shape: tuple[int, ...], *, data: Any = None, **fields: Any) -> Tensor:
    kind = BY_NAME[dtype]
    values = None if data is None else np.asarray(data, kind.numpy).reshape(shape)
    fields = {"name": f"t{index}", "shape_signature": shape, "quant": None, **fields}
    return Tensor(index=index, shape=shape, dtype=kind, data=values, **fields)


def dense_graph(depth: int = 4, units: int = 3) -> Subgraph:
    """A small quantized dense layer: input, weights per channel, bias, output."""
    weights = np.arange(units * depth) % 17 - 8
    return Subgraph(
        "main",
        (
            tensor(0, "int8", (1, depth), quant=quant(0.25, -3), name="input", shape_signature=(-1, depth)),
            tensor(1, "int8", (units, depth), data=weights, quant=quant(np.full(units, 0.125), [0] * units)),
            tensor(
                2,
                "int32",
                (units,),
                data=np.arange(units) - 1,
                quant=quant(np.full(units, 1 / 32), [0] * units),
            ),
            tensor(3, "int8", (1, units), quant=quant(0.75, 5), name="output"),
        ),
        (Operator(0, "FULLY_CONNECTED", 4, (0, 1, 2), (3,), {"fused_activation_function": "RELU"}),),
        (0,),
        (3,),
    )


def changed(graph: Subgraph, index: int, /, **fields: Any) -> Subgraph:
    """The graph with one tensor changed."""
    tensors = list(graph.tensors)
    tensors[index] = replace(tensors[index], **fields)
    return replace(graph, tensors=tuple(tensors))


class RawWriter(_Writer):
    """Writes what `write` would never write: `raw` maps the schema's functions to changes of their value."""

    def __init__(self, **raw: Callable[[Any], Any]) -> None:
        super().__init__()
        real = self.schema

        class Schema:
            def __getattr__(self, name: str) -> Any:
                function = getattr(real, name)
                if name not in raw:
                    return function
                return lambda builder, value: function(builder, raw[name](value))

        self.schema = Schema()


def raw_file(graph: Subgraph | None = None, **raw: Callable[[Any], Any]) -> bytes:
    return RawWriter(**raw).finish([graph or dense_graph()], "raw")


def refused(content: Any, *parts: str) -> None:
    """Loading gives a ModelError whose text has all the parts."""
    with pytest.raises(ModelError) as caught:
        load(content)
    for part in parts:
        assert part in str(caught.value)


def opened(content: Any, *parts: str) -> Model:
    """The file is read; one of its faults has all the parts, and no runtime that was asked about it runs it."""
    model = load(content)
    assert any(all(part in fault.text for part in parts) for fault in model.faults), model.faults
    return model


# ---- what is read


def test_a_dense_layer_is_read_as_written() -> None:
    model = load(write(dense_graph(), "a description"))
    assert (model.description, model.version, model.source) == ("a description", 3, "<bytes>")
    source, weights, bias, output = model.tensors
    assert (source.name, source.shape, source.shape_signature) == ("input", (1, 4), (-1, 4))
    assert source.data is None
    assert weights.data is not None
    assert weights.data.dtype == np.int8
    assert weights.data.tolist() == [[-8, -7, -6, -5], [-4, -3, -2, -1], [0, 1, 2, 3]]
    assert not weights.data.flags.writeable
    assert weights.quant is not None
    assert weights.quant.scale.tolist() == [0.125] * 3
    assert weights.quant.zero_point.dtype == np.int64
    assert bias.data is not None
    assert bias.data.dtype == np.int32
    assert bias.data.tolist() == [-1, 0, 1]
    assert output.quant is not None
    assert not output.quant.scale.flags.writeable
    op = model.operators[0]
    assert (op.name, op.version, op.inputs, op.outputs) == ("FULLY_CONNECTED", 4, (0, 1, 2), (3,))
    assert op.options == {
        "fused_activation_function": "RELU",
        "weights_format": "DEFAULT",
        "keep_num_dims": False,
        "asymmetric_quantize_inputs": False,
        "quantized_bias_type": "float32",
    }
    assert model.inputs == (source,)
    assert model.outputs == (output,)


def test_a_path_and_its_bytes_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(write(dense_graph()))
    assert load(path).content == load(str(path)).content == load(path.read_bytes()).content
    assert load(path).source == str(path)
    assert load(bytearray(path.read_bytes())).content == path.read_bytes()  # type: ignore[arg-type]


def test_an_absent_options_table_gives_the_defaults() -> None:
    # An options table of another type says nothing about this operator, as in TFLite.
    for options_type in (0, 9, 200):
        model = load(raw_file(OperatorAddBuiltinOptionsType=lambda _, kind=options_type: kind))
        assert model.operators[0].options["fused_activation_function"] == "NONE"


@pytest.mark.parametrize(
    ("narrow", "wide", "name"),
    [(9, 0, "FULLY_CONNECTED"), (0, 9, "FULLY_CONNECTED"), (127, 208, "STABLEHLO_CBRT"), (127, 250,
    "UNKNOWN(250)"),
     (-1, -2, "UNKNOWN(-1)"), (32, 32, "CUSTOM()")],
)  # fmt: skip
def test_the_operator_is_the_larger_of_both_codes(narrow: int, wide: int, name: str) -> None:
    content = raw_file(OperatorCodeAddDeprecatedBuiltinCode=lambda _: narrow, OperatorCodeAddBuiltinCode=lambda _: wide)
    assert load(content).operators[0].name == name


def test_unknown_types_do_not_fail_the_load() -> None:
    model = load(raw_file(TensorAddType=lambda code: 77 if code == 2 else code))
    assert model.tensors[2].dtype == DType("unknown(77)", None, 0)
    assert model.tensors[2].data is None


def test_sparse_and_blockwise_tensors_are_kept_under_names_nobody_computes() -> None:
    class Sparse(_Writer):
        def tensor(self, item: Tensor) -> int:
            if item.index == 1:
                self.builder.StartObject(4)
                sparsity = self.builder.EndObject()
                real, self.schema = (
                    self.schema,
                    _Also(self.schema, "TensorStart", "TensorAddSparsity", sparsity),
                )
                try:
                    return super().tensor(item)
                finally:
                    self.schema = real
            return super().tensor(item)

    model = load(Sparse().finish([dense_graph()], "sparse"))
    assert model.tensors[1].dtype.name == "sparse(int8)"
    assert model.tensors[1].data is None
    graph = dense_graph()

    class Custom(_Writer):
        def quantization(self, item: Tensor) -> int:
            real = self.schema
            self.schema = _Also(real, "QuantizationParametersStart", "QuantizationParametersAddDetailsType", 1)
            try:
                return super().quantization(item)
            finally:
                self.schema = real

    model = load(Custom().finish([graph], "custom"))
    assert model.tensors[1].dtype.name == "custom_quantization(int8)"
    assert model.tensors[1].quant is None
    assert model.tensors[1].data is None


class _Also:
    """A schema whose `start` also adds one field."""

    def __init__(self, real: Any, start: str, add: str, value: int) -> None:
        self.real, self.start, self.add, self.value = real, start, add, value

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.real, name)
        if name != self.start:
            return function

        def both(builder: Any) -> None:
            function(builder)
            getattr(self.real, self.add)(builder, self.value)

        return both


def test_missing_zero_points_are_zero_and_one_serves_all_channels() -> None:
    graph = changed(dense_graph(), 1, quant=quant([0.1, 0.2, 0.3], [7]))
    read = load(write(graph)).tensors[1].quant
    assert read is not None
    assert read.zero_point.tolist() == [7, 7, 7]
    graph = changed(dense_graph(), 1, quant=quant([0.1, 0.2, 0.3], np.zeros(0)))
    read = load(write(graph)).tensors[1].quant
    assert read is not None
    assert read.zero_point.tolist() == [0, 0, 0]
    assert read.scale.tobytes() == np.array([0.1, 0.2, 0.3], np.float32).tobytes()


def test_no_scales_is_no_quantization() -> None:
    assert load(write(changed(dense_graph(), 3, quant=quant([], [])))).tensors[3].quant is None


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_int4_is_unpacked_low_nibble_first(count: int) -> None:
    values = (np.arange(count) * 5) % 16 - 8
    graph = changed(dense_graph(), 1, dtype=BY_NAME["int4"], shape=(count,), shape_signature=(count,), quant=None)
    graph = changed(graph, 1, data=values.astype(np.int8))
    read = load(write(graph)).tensors[1]
    assert read.data is not None
    assert read.dtype.name == "int4"
    assert read.data.dtype == np.int8
    assert read.data.tolist() == values.tolist()


def external(graph: Subgraph, behind: Callable[[bytes, int], tuple[int, int]]) -> bytes:
    """The graph, its constants behind the FlatBuffer; `behind` says which offset and size are claimed."""
    payload: list[tuple[bytes, int]] = []

    class External(_Writer):
        def buffer(self, item: Tensor) -> int:
            if item.data is None:
                return 0
            marker = 0xAA00_0000_0000 + len(payload)
            payload.append((item.data.tobytes(), marker))
            self.schema.BufferStart(self.builder)
            self.schema.BufferAddOffset(self.builder, marker)
            self.schema.BufferAddSize(self.builder, marker + (1 << 50))
            self.buffers.append(self.schema.BufferEnd(self.builder))
            return len(self.buffers) - 1

    content = External().finish([graph], "external")
    for data, marker in payload:
        content += bytes(-len(content) % 16)
        offset, size = behind(data, len(content))
        content = content.replace(struct.pack("<Q", marker), struct.pack("<Q", offset))
        content = content.replace(struct.pack("<Q", marker + (1 << 50)), struct.pack("<Q", size)) + data
    return content


def test_constants_behind_the_flatbuffer_are_read() -> None:
    content = external(dense_graph(), lambda data, end: (end, len(data)))
    model = load(content)
    for found, wanted in zip(model.tensors, dense_graph().tensors, strict=True):
        if wanted.data is None:
            assert found.data is None
        else:
            np.testing.assert_array_equal(found.data, wanted.data)
    unaligned = load(external(dense_graph(), lambda data, end: (end, len(data))).replace(b"\0\0\0\0TFL3", b""))
    assert unaligned.content == content


def test_constants_behind_the_flatbuffer_stay_in_the_file() -> None:
    opened(external(dense_graph(), lambda data, end: (end + 5, len(data))), "tensor 2 't2'", "may be truncated")
    opened(external(dense_graph(), lambda data, end: (2**64 - 8, len(data))), "tensor 1 't1'", "truncated")
    opened(external(dense_graph(), lambda data, end: (end, 2**64 - 1)), "tensor 1 't1'", "truncated")
    opened(external(dense_graph(), lambda data, end: (end, len(data) - 1)), "has 11 bytes of data, wanted 12")
    # 0 and 1 are placeholders that say "no data".
    for placeholder in (0, 1):
        content = external(dense_graph(), lambda data, end, start=placeholder: (start, len(data)))
        opened(content, "reads tensor 1 't1', which nothing writes")


@pytest.mark.parametrize("units", [3, 8])
def test_a_large_file_is_mapped_and_little_of_it_is_read(tmp_path: Path, units: int) -> None:
    graph, far = dense_graph(4, units), 300_000_000 // 16 * 16
    places: list[tuple[int, bytes]] = []

    def behind(data: bytes, _: int) -> tuple[int, int]:
        places.append((far + 4096 * len(places), data))
        return places[-1][0], len(data)

    path = tmp_path / "large.tflite"
    with path.open("wb") as file:
        file.write(external(graph, behind))
        for start, data in places:
            file.seek(start)
            file.write(data)
    load(write(graph))  # the schema's classes are imported once
    tracemalloc.start()
    try:
        model = load(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20
    assert isinstance(model.content, mmap.mmap)
    for found, wanted in zip(model.tensors, graph.tensors, strict=True):
        np.testing.assert_array_equal(found.data, wanted.data)
    report = inspect(model).as_dict()
    assert report["model"]["sha256"] is None
    x = np.array([[1, -2, 3, 4]], np.int8)
    np.testing.assert_array_equal(
        run(model, x, "litert-reference").output, run(write(graph), x, "litert-reference").output
    )


def test_unaligned_constants_are_copied() -> None:
    content = external(dense_graph(), lambda data, end: (end, len(data)))
    at = content.rindex(np.arange(-1, 2, dtype=np.int32).tobytes())
    moved = content[:at] + b"\0" + content[at:]
    moved = moved.replace(struct.pack("<Q", at), struct.pack("<Q", at + 1))
    read = load(moved).tensors[2].data
    assert read is not None
    assert read.tolist() == [-1, 0, 1]
    assert read.flags.aligned
    assert not read.flags.writeable


@pytest.mark.parametrize("name", [d.name for d in DTYPES.values() if d.numpy is not None])
def test_constants_of_every_type(name: str) -> None:
    values = np.arange(6).reshape(2, 3) % 2
    graph = changed(dense_graph(), 1, **{k: getattr(tensor(1, name, (2, 3), data=values), k) for k in
                                         ("dtype", "shape", "shape_signature", "quant", "data")})  # fmt: skip
    read = load(write(graph)).tensors[1]
    assert read.dtype == BY_NAME[name]
    assert read.data is not None
    assert read.data.dtype == BY_NAME[name].numpy
    np.testing.assert_array_equal(read.data, values)


def test_a_constant_without_elements_is_a_constant() -> None:
    graph = dense_graph()
    empty = tensor(4, "int32", (0, 2), data=np.zeros(0))
    graph = replace(graph, tensors=(*graph.tensors, empty))
    model = load(write(graph))
    assert model.tensors[4].data is not None
    assert model.tensors[4].data.shape == (0, 2)
    # The same without elements but fed is not.
    fed = replace(graph, inputs=(0, 4))
    assert load(write(changed(fed, 4, data=None))).tensors[4].data is None


@needs_models
def test_every_shared_model_loads() -> None:
    paths = sorted(MODELS.glob("*.tflite"))
    assert paths
    for path in paths:
        if path.stem == MALFORMED:
            opened(path, "tensor 8", "buffer 9 has 12 bytes of data, wanted 16 for uint8 [1, 16]")
        model = load(path)
        assert model.operators
        assert model.inputs
        for item in model.tensors:
            assert item.data is None or item.data.shape == item.shape


def test_import_is_light() -> None:
    code = "import sys, lastbit.model.tflite; print(sorted({'tflite', 'flatbuffers'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# ---- what is refused: files


def test_a_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.tflite", "none.tflite: no such file", "Check the path")


def test_a_folder(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder, wanted a .tflite file", "Name a .tflite file in it")
    (tmp_path / "saved_model.pb").touch()
    refused(tmp_path, "is a TensorFlow SavedModel")


def test_a_device_is_not_read_for_ever() -> None:
    refused("/dev/zero", "not a regular file")


def test_unreadable_paths(tmp_path: Path) -> None:
    refused("a\0b", "cannot be read")
    refused(str(tmp_path / ("x" * 5000)), "cannot be read")


def test_something_that_is_no_source() -> None:
    with pytest.raises(InputError, match="found int"):
        load(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file (Keras .h5)"),
        (b"\x08\x07\x12\x07pytorch" + bytes(40), "ONNX"),
        (b'  {"version": 3, "subgraphs": []}', "a JSON text"),
        (b"\x1f\x8b\x08" + bytes(40), "a gzip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"#include <x.h>\nconst unsigned char model[] = {0x1c", "C source"),
        (b"\x1c\0\0\0TFL2" + bytes(40), "another schema version"),
        (b"\x1c\0\0\0TF", "a truncated file"),
        (b"abcdefghijkl", "wanted the identifier b'TFL3'"),
    ],
)
def test_other_formats_are_named(content: bytes, part: str) -> None:
    refused(content, "<bytes>: ", part)


def test_a_truncated_file_says_so() -> None:
    content = write(dense_graph())
    for length in range(8, len(content), 7):
        # Zeros that only align the end may be missing.
        if content[length:].strip(b"\0"):
            refused(content[:length], "truncated")


# ---- what is refused: contents


def test_schema_version() -> None:
    opened(raw_file(ModelAddVersion=lambda _: 2), "the schema version is 2, wanted 3")


def test_no_subgraphs() -> None:
    refused(_Writer().finish([], "empty"), "no subgraphs, wanted at least 1")


def with_operator(**fields: Any) -> Subgraph:
    graph = dense_graph()
    return replace(graph, operators=(replace(graph.operators[0], **fields),))


def bad(index: int, **fields: Any) -> Subgraph:
    return changed(dense_graph(), index, **fields)


BIG = 2**31 - 1
CONTRADICTIONS: list[tuple[Subgraph, str]] = [
    (with_operator(inputs=(0, 9, 2)), "operator 0 FULLY_CONNECTED: inputs: entry 1 is tensor 9, but"),
    (with_operator(inputs=(0, 9, 2)), "the subgraph has tensors 0 to 3"),
    (with_operator(inputs=(0, 1, -2)), "entry 2 is tensor -2"),
    (with_operator(inputs=(0, 1, -2)), "-1 for an absent one"),
    (with_operator(outputs=(-1,)), "outputs: entry 0 is tensor -1"),
    (replace(dense_graph(), inputs=(4,)), "graph inputs: entry 0 is tensor 4"),
    (replace(dense_graph(), outputs=(-1,)), "graph outputs: entry 0 is tensor -1"),
]
FAULTS: list[tuple[Subgraph, str]] = [
    (bad(0, shape=(-1, 4)), "tensor 0 'input': its shape is [-1, 4]; sizes from 0"),
    (bad(0, shape=(BIG, BIG)), "has 4611686014132420609 elements"),
    (bad(0, shape=(0, BIG, BIG), shape_signature=(0, 1, 1)), "TFLite counts them in int32"),
    (bad(0, shape=(1,) * 33, shape_signature=(1,) * 33), "33 dimensions; LastBit holds at most 32"),
    (bad(1, shape=(3, 5)), "buffer 1 has 12 bytes of data, wanted 15 for int8 [3, 5]"),
    (bad(1, shape=(BIG,) * 32, shape_signature=(BIG,) * 32), "TFLite counts them in int32"),
    (bad(1, is_variable=True), "is a variable and has constant data in buffer 1"),
    (bad(1, quant=quant([0.1] * 3, [0, 0])), "has 3 scales and 2 zero points"),
    (bad(1, quant=quant([0.1], [0, 0])), "has 1 scales and 2 zero points"),
    (bad(1, quant=quant([0.1] * 2, [0, 0])), "2 scales, wanted 1 or one for each of the 3 channels"),
    (bad(1, quant=quant([0.1] * 3, [0] * 3, 1)), "each of the 4 channels along dimension 1"),
    (bad(1, quant=quant([0.1] * 3, [0] * 3, 2)), "quantized_dimension is 2, wanted 0 to 1"),
    (bad(1, quant=quant([0.1] * 3, [0] * 3, -1)), "quantized_dimension is -1, wanted 0 to 1"),
    (bad(0, quant=quant(1, 128)), "a zero point is 128, wanted -128 to 127 as int8 holds"),
    (bad(0, quant=quant(1, -(2**63))), "a zero point is -9223372036854775808, wanted -128 to 127"),
]

SCALES: list[tuple[Subgraph, str]] = [
    (bad(0, quant=quant(0.0)), "has the scale 0.0"),
    (bad(0, quant=quant(-1.0)), "has the scale -1.0"),
    (bad(1, quant=quant([1, np.nan, 1], [0] * 3)), "has the scale nan"),
    (bad(1, quant=quant([1, 1, np.inf], [0] * 3)), "has the scale inf"),
    (bad(3, quant=quant(-0.5)), "has the scale -0.5"),
]


@pytest.mark.parametrize(("graph", "part"), CONTRADICTIONS, ids=[part for _, part in CONTRADICTIONS])
def test_contradictions_are_refused(graph: Subgraph, part: str) -> None:
    # Straight to the writer, which believes its caller.
    refused(_Writer().finish([graph], "bad"), "<bytes>: ", part)


@pytest.mark.parametrize(("graph", "part"), FAULTS, ids=[part for _, part in FAULTS])
def test_faults_are_carried_and_no_litert_runs_the_layer(graph: Subgraph, part: str) -> None:
    prepared = prepare(opened(_Writer().finish([graph], "bad"), part), "litert-reference")
    assert list(prepared.refusals) == [0]


@pytest.mark.parametrize(("graph", "part"), SCALES, ids=[part for _, part in SCALES])
def test_scales_without_meaning_are_read_and_refused_by_the_layer(graph: Subgraph, part: str) -> None:
    for runtime in ("litert-xnnpack", "litert-reference", "tflm"):
        assert part in prepare(load(_Writer().finish([graph], "bad")), runtime).refusals[0]


def dense_option(slot: int, value: int) -> bytes:
    """A dense layer with one byte of its options table, the field at `slot` of the vtable, changed."""
    import tflite

    options = {"weights_format": "SHUFFLED4x16INT8", "quantized_bias_type": "int32"}
    options["fused_activation_function"] = "RELU"
    content = bytearray(write(with_operator(options=options)))
    table = tflite.Model.GetRootAs(content, 0).Subgraphs(0).Operators(0).BuiltinOptions()
    content[table.Pos + table.Offset(slot)] = value
    return bytes(content)


def test_indices_and_options_beyond_the_file_are_refused() -> None:
    refused(raw_file(OperatorAddOpcodeIndex=lambda _: 5), "opcode_index is 5, but the file has 1 operator codes")
    opened(raw_file(TensorAddBuffer=lambda _: 2**32 - 1), "its buffer is 4294967295, but the file has 3 buffers")
    assert load(dense_option(4, 17)).operators[0].options["fused_activation_function"] == "unknown(17)"
    assert load(dense_option(6, 0xFD)).operators[0].options["weights_format"] == "unknown(-3)"
    assert "weights_format is unknown(-3)" in prepare(load(dense_option(6, 0xFD)), "tflm").refusals[0]
    assert load(dense_option(12, 99)).operators[0].options["quantized_bias_type"] == "unknown(99)"


def chain(*steps: tuple[int, int]) -> Subgraph:
    """RELU operators, each from one tensor to another."""
    count = 1 + max(max(step) for step in steps)
    tensors = tuple(tensor(i, "int8", (1, 4), quant=quant()) for i in range(count))
    operators = tuple(Operator(i, "RELU", 1, (a,), (b,)) for i, (a, b) in enumerate(steps))
    return Subgraph("chain", tensors, operators, (0,), (steps[-1][1],))


def test_the_order_of_operators_is_checked() -> None:
    load(write(chain((0, 1), (1, 2), (1, 3))))
    opened(write(chain((1, 2), (0, 1))), "operator 0 RELU reads tensor 1 't1', before operator 1 RELU writes it")
    opened(write(chain((2, 1), (1, 2))), "operator 0 RELU reads tensor 2 't2', before operator 1 RELU writes it")
    opened(write(chain((1, 1), (0, 2))), "operator 0 RELU reads tensor 1")
    opened(write(chain((3, 1), (0, 2))), "reads tensor 3 't3', which nothing writes")
    opened(write(chain((0, 1), (0, 1))), "operator 1 RELU writes tensor 1", "already written by operator 0 RELU")
    opened(write(chain((0, 0))), "already written by the caller, as a graph input")
    opened(write(replace(chain((0, 1), (0, 2)), inputs=(0, 2))), "as a graph input")
    opened(write(replace(chain((0, 1), (0, 3)), outputs=(2,))), "nothing writes the graph output tensor 2 't2'")
    constant = changed(chain((0, 1)), 1, data=np.zeros((1, 4), np.int8))
    opened(write(constant), "already written by the file, as a constant")
    variable = changed(chain((2, 1), (0, 2)), 2, is_variable=True)
    assert load(write(variable)).tensors[2].is_variable


# ---- damaged and hostile bytes


def mutants(seeds: list[bytes], count: int) -> Any:
    """Seeded damage of many kinds."""
    rng = random.Random(20240917)
    words = [0, 1, 2, 3, 127, 250, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 4, 2**32 - 16, 2**30, 2**16, 2**24]
    for number in range(count):
        base = rng.choice(seeds)
        content = bytearray(base)
        kind = number % 5
        if kind == 0:
            del content[rng.randrange(len(content)) :]
        elif kind == 1:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        elif kind == 2:
            for _ in range(rng.randrange(2, 24)):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        elif kind == 3:
            for _ in range(rng.randrange(1, 8)):
                content[rng.randrange(len(content))] = rng.randrange(256)
        else:
            for _ in range(rng.randrange(1, 4)):
                near = rng.randrange(-len(content), len(content)) % 2**32
                word = rng.choice([*words, near, rng.randrange(2**32)])
                struct.pack_into("<I", content, 4 * rng.randrange(len(content) // 4), word)
        yield number, bytes(content)


def seeds() -> list[bytes]:
    found = [
        write(dense_graph()),
        write(dense_graph(16, 8)),
        write(chain((0, 1), (1, 2), (2, 3))),
        external(dense_graph(), lambda data, end: (end, len(data))),
        write(changed(dense_graph(), 1, dtype=BY_NAME["int4"])),
    ]
    if MODELS.is_dir():
        found += [path.read_bytes() for path in sorted(MODELS.glob("*.tflite")) if path.stat().st_size < 4096]
        model = load(MODELS / "arm_kws_dnn_s.tflite")
        found += [write(extract_operator(model, op)) for op in model.operators[-3:]]
    return found


def check_model(model: Model) -> None:
    """A model that came out of damaged bytes keeps the promises that the others do."""
    for item in model.tensors:
        assert item.data is None or item.data.shape == item.shape
        if item.quant is not None:
            assert item.quant.scale.shape == item.quant.zero_point.shape
    for op in model.operators:
        assert all(-1 <= i < len(model.tensors) for i in op.inputs)
        assert all(0 <= i < len(model.tensors) for i in op.outputs)


def test_only_model_errors_come_out_of_damaged_files() -> None:
    started = time.process_time()
    loaded = refusals = 0
    for number, content in mutants(seeds(), 4000):
        before = time.process_time()
        error: LastBitError | None = None
        try:
            model = load(content)
        except LastBitError as found:
            error = found
        if error is None:
            check_model(model)
            loaded += 1
        else:
            assert type(error) is ModelError, (number, error)
            assert str(error).startswith("<bytes>: "), number
            refusals += 1
        assert time.process_time() - before < 2, number
    assert loaded > 1000
    assert refusals > 500
    assert time.process_time() - started < 20


def test_damaged_files_take_no_memory() -> None:
    load(write(dense_graph()))  # the schema classes are imported once
    largest = max(len(seed) for seed in seeds())
    tracemalloc.start()
    try:
        for _, content in mutants(seeds(), 400):
            try:
                load(content)
            except ModelError as error:
                error.__traceback__ = None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20 + 40 * largest


def shared_tables(tensors: int, shape: int, name: int) -> bytes:
    """A small file whose many tensors are all one table, with a long shape and a long name."""
    import flatbuffers
    import tflite

    builder = flatbuffers.Builder(1024)
    sizes = builder.CreateNumpyVector(np.ones(shape, np.int32))
    text = builder.CreateString("n" * name)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, sizes)
    tflite.TensorAddName(builder, text)
    table = tflite.TensorEnd(builder)
    builder.StartVector(4, tensors, 4)
    for _ in range(tensors):
        builder.PrependUOffsetTRelative(table)
    vector = builder.EndVector()
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, vector)
    graph = tflite.SubGraphEnd(builder)
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    tflite.BufferStart(builder)
    buffer = tflite.BufferEnd(builder)
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(buffer)
    buffers = builder.EndVector()
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddSubgraphs(builder, graphs)
    tflite.ModelAddBuffers(builder, buffers)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(("tensors", "shape", "name"), [(100_000, 2, 2), (20_000, 20_000, 2), (20_000, 2, 80_000)])
def test_shared_parts_do_not_blow_up(tensors: int, shape: int, name: int) -> None:
    content = shared_tables(tensors, shape, name)
    tracemalloc.start()
    started = time.process_time()
    try:
        refused(content, "its parts share or overlap each other")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 5
    assert peak < 40 * len(content)


def test_a_few_shared_parts_are_fine() -> None:
    assert len(load(shared_tables(500, 3, 20)).tensors) == 500


def test_overlapping_constants_do_not_blow_up() -> None:
    # 200 buffers of int4, all of which are the same 100,000 bytes at the end of the file.
    length = 100_000
    constants = tuple(tensor(i, "int4", (2 * length,), data=np.zeros(2 * length)) for i in range(200))
    graph = Subgraph("overlap", constants, (), (), ())
    places: list[int] = []

    def same(_: bytes, end: int) -> tuple[int, int]:
        places.append(end)
        return places[0], length

    small = replace(graph, tensors=tuple(replace(t, data=np.zeros(1, np.int8)) for t in graph.tensors))
    content = external(small, same)
    content += bytes(places[0] + length - len(content))
    refused(content, "more than four times the file's", "buffers overlap each other")
