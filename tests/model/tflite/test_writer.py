"""The writer: what is written is read back, and runs in the real interpreters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lastbit.model.errors import InputError, LastBitError, ModelError, UnsupportedError
from lastbit.model.graph import Model, Operator, Subgraph
from lastbit.model.tflite import extract_operator, load, with_outputs, write
from lastbit.model.types import DType
from tests.model.tflite.test_reader import (
    BY_NAME,
    MALFORMED,
    MODELS,
    chain,
    changed,
    dense_graph,
    external,
    mutants,
    needs_models,
    opened,
    quant,
    seeds,
    tensor,
    with_operator,
)

VALID = [path for path in sorted(MODELS.glob("*.tflite")) if path.stem != MALFORMED]
WRITTEN = ("FULLY_CONNECTED", "SOFTMAX", "RESHAPE", "QUANTIZE", "DEQUANTIZE", "RELU", "LOGISTIC", "TANH")


def assert_same(found: Subgraph, wanted: Subgraph) -> None:
    """The same graph: every value, type and option."""
    assert (found.name, found.inputs, found.outputs) == (wanted.name, wanted.inputs, wanted.outputs)
    assert len(found.tensors) == len(wanted.tensors)
    for a, b in zip(found.tensors, wanted.tensors, strict=True):
        for field in ("index", "name", "shape", "shape_signature", "dtype", "is_variable"):
            assert getattr(a, field) == getattr(b, field), (b.label, field)
        assert (a.data is None) == (b.data is None), b.label
        if a.data is not None and b.data is not None:
            assert a.data.dtype == b.data.dtype
            assert a.data.tobytes() == b.data.tobytes(), b.label
        assert (a.quant is None) == (b.quant is None), b.label
        if a.quant is not None and b.quant is not None:
            assert a.quant.scale.tobytes() == b.quant.scale.tobytes(), b.label
            assert a.quant.zero_point.tolist() == b.quant.zero_point.tolist(), b.label
            assert a.quant.axis == b.quant.axis
    assert len(found.operators) == len(wanted.operators)
    for one, other in zip(found.operators, wanted.operators, strict=True):
        for field in ("index", "name", "version", "inputs", "outputs"):
            assert getattr(one, field) == getattr(other, field), other.label
        assert {**one.options, **other.options} == one.options, other.label


def same_after_a_round_trip(graph: Subgraph) -> Model:
    content = write(graph)
    model = load(content)
    assert_same(model.subgraphs[0], graph)
    # Once more, now that the options are complete: the same bytes.
    assert write(model.subgraphs[0]) == content
    return model


def one_operator(
    name: str, dtype: str, shape: tuple[int, ...], out: tuple[int, ...], out_dtype: str = "", **options: Any
) -> Subgraph:
    tensors = (
        tensor(0, dtype, shape, quant=quant(0.1)),
        tensor(1, out_dtype or dtype, out, quant=quant(1 / 256)),
    )
    return Subgraph("one", tensors, (Operator(0, name, 1, (0,), (1,), options),), (0,), (1,))


# ---- write


@pytest.mark.parametrize(
    "graph",
    [
        dense_graph(),
        dense_graph(17, 5),
        with_operator(inputs=(0, 1, -1)),
        with_operator(
            version=9,
            options={
                "fused_activation_function": "RELU_N1_TO_1",
                "weights_format": "SHUFFLED4x16INT8",
                "keep_num_dims": True,
                "asymmetric_quantize_inputs": True,
                "quantized_bias_type": "int64",
            },
        ),
        changed(dense_graph(3, 5), 1, dtype=BY_NAME["int4"]),
        changed(dense_graph(), 2, dtype=BY_NAME["int64"], data=np.array([-(2**63), 0, 2**63 - 1])),
        changed(dense_graph(), 1, quant=quant([0.1, 1e-38, 3e38, 1.4e-45], [1, -128, 127, 0], axis=1)),
        changed(dense_graph(), 0, name="ünïcode/∑", quant=None, shape=(), shape_signature=()),
        changed(chain((2, 1), (0, 2)), 2, is_variable=True),
        chain((0, 1), (1, 2), (2, 3)),
        one_operator("SOFTMAX", "int8", (2, 5), (2, 5), beta=1.5),
        one_operator("RESHAPE", "int8", (2, 6), (3, 4), new_shape=(3, -1)),
        one_operator("RESHAPE", "int8", (2, 6), (3, 4)),
        one_operator("QUANTIZE", "float32", (2, 6), (2, 6), "int8"),
        one_operator("DEQUANTIZE", "int8", (2, 6), (2, 6), "float32"),
    ],
)
def test_round_trip(graph: Subgraph) -> None:
    same_after_a_round_trip(graph)


def test_operator_codes_are_shared_by_name_and_version() -> None:
    import tflite

    graph = chain((0, 1), (1, 2), (2, 3))
    last = replace(graph.operators[2], version=2)
    graph = replace(graph, operators=(*graph.operators[:2], last))
    assert tflite.Model.GetRootAs(write(graph), 0).OperatorCodesLength() == 2
    assert [op.version for op in load(write(graph)).operators] == [1, 1, 2]


def test_constants_are_aligned_to_16_bytes() -> None:
    import tflite

    for depth in (1, 3, 8, 13):
        root = tflite.Model.GetRootAs(write(dense_graph(depth), "x" * depth), 0)
        for index in range(1, root.BuffersLength()):
            table = root.Buffers(index)._tab
            assert table.Vector(table.Offset(4)) % 16 == 0
        assert root.Buffers(0).DataLength() == 0


@pytest.mark.parametrize(
    ("graph", "part"),
    [
        (with_operator(name="CUMSUM"), "operator 0 CUMSUM: cannot be written"),
        (with_operator(name="CUSTOM(x)"), "the options of CUSTOM(x) are not known"),
        (with_operator(options={"beta": 1.0}), "option 'beta' is not one of FULLY_CONNECTED"),
        (with_operator(options={"fused_activation_function": "GELU"}), "is 'GELU', wanted one of NONE, RELU"),
        (changed(dense_graph(), 0, dtype=DType("sparse(int8)", None, 0)), "has the type sparse(int8)"),
        (changed(dense_graph(), 0, dtype=BY_NAME["string"]), "tensor 0 'input' has the type string"),
    ],
)
def test_what_cannot_be_written_is_refused(graph: Subgraph, part: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        write(graph)
    assert part in str(caught.value)
    assert caught.value.reasons


@pytest.mark.parametrize(
    ("graph", "part"),
    [
        (changed(dense_graph(), 1, index=7), "tensor 7 't1' is at position 1"),
        (replace(dense_graph(), inputs=(9,)), "the graph's inputs: there is no tensor 9"),
        (with_operator(outputs=(-1,)), "operator 0 FULLY_CONNECTED: outputs: there is no tensor -1"),
        (
            changed(dense_graph(), 1, data=np.zeros((3, 3), np.int8)),
            "its data is int8 [3, 3], wanted int8 [3, 4]",
        ),
        (changed(dense_graph(), 1, data=np.zeros((3, 4), np.int32)), "its data is int32 [3, 4], wanted int8"),
    ],
)
def test_graphs_that_contradict_themselves_are_refused(graph: Subgraph, part: str) -> None:
    with pytest.raises(InputError) as caught:
        write(graph)
    assert part in str(caught.value)


# ---- extract_operator


def layer(shape: tuple[int, ...], depth: int = 4, keep: bool = False, out: tuple[int, ...] = (1, 3)) -> Model:
    graph = changed(dense_graph(depth), 0, shape=shape, shape_signature=shape)
    graph = changed(graph, 3, shape=out, shape_signature=out)
    op = replace(graph.operators[0], options={**graph.operators[0].options, "keep_num_dims": keep})
    return load(write(replace(graph, operators=(op,))))


def test_an_operator_is_cut_out() -> None:
    graph = chain((0, 1), (1, 2), (2, 3))
    model = load(write(graph))
    single = extract_operator(model, model.operators[1])
    assert single.name == "operator_1"
    assert [t.name for t in single.tensors] == ["t1", "t2"]
    assert (single.inputs, single.outputs) == ((0,), (1,))
    assert (single.operators[0].index, single.operators[0].inputs, single.operators[0].outputs) == (
        0,
        (0,),
        (1,),
    )
    same_after_a_round_trip(single)


def test_constants_variables_and_absent_inputs_stay() -> None:
    model = load(write(with_operator(inputs=(0, 1, -1))))
    single = extract_operator(model, model.operators[0])
    assert single.operators[0].inputs == (0, 1, -1)
    assert single.inputs == (0,)
    assert [t.name for t in single.tensors] == ["input", "t1", "output"]
    assert single.tensors[1].data is not None
    model = load(write(changed(chain((2, 1), (0, 2)), 2, is_variable=True)))
    assert extract_operator(model, model.operators[0]).inputs == ()


def test_a_tensor_used_twice_is_there_once() -> None:
    model = load(write(with_operator(inputs=(0, 0))))
    single = extract_operator(model, model.operators[0])
    assert (len(single.tensors), single.inputs, single.operators[0].inputs) == (2, (0,), (0, 0))


@pytest.mark.parametrize(
    ("shape", "keep", "batch", "source", "result"),
    [
        ((1, 4), False, 7, (7, 4), (7, 3)),
        ((4,), False, 7, (7, 4), (7, 3)),
        ((4,), True, 7, (7, 4), (7, 3)),
        ((2, 5, 4), False, 7, (7, 5, 4), (35, 3)),
        ((2, 5, 4), True, 7, (7, 5, 4), (7, 5, 3)),
        # The last dimension is not the depth: TFLite cuts the elements into rows.
        ((1, 2, 2), False, 3, (3, 2, 2), (3, 3)),
        ((2, 8), False, 3, (3, 8), (6, 3)),
        ((1, 2), False, 6, (6, 2), (3, 3)),
        ((2, 4), False, None, (2, 4), (2, 3)),
    ],
)
def test_the_batch_of_a_dense_layer(
    shape: tuple[int, ...], keep: bool, batch: int | None, source: tuple[int, ...], result: tuple[int, ...]
) -> None:
    model = layer(shape, keep=keep, out=(2, 3))
    single = extract_operator(model, model.operators[0], batch)
    assert single.tensors[0].shape == source
    assert single.tensors[3].shape == result
    assert single.tensors[1].shape == (3, 4)
    if batch is not None:
        assert single.tensors[0].shape_signature == source
    runs(write(single), {0: np.ones(source, np.int8)}, result)


def test_the_batch_of_other_operators() -> None:
    model = load(write(one_operator("SOFTMAX", "int8", (2, 5), (2, 5), beta=1.0)))
    single = extract_operator(model, model.operators[0], 9)
    assert [t.shape for t in single.tensors] == [(9, 5), (9, 5)]


@pytest.mark.parametrize(
    ("model", "batch", "error", "part"),
    [
        (layer((1, 4)), 0, InputError, "the batch is 0, wanted 1 or more"),
        (
            layer((2, 2, 3), depth=4),
            1,
            InputError,
            "6 elements cannot be cut into rows of 4; try a batch of 4",
        ),
        (layer((1, 2), keep=True), 2, InputError, "wanted 4 as its last dimension since keep_num_dims"),
        (load(write(one_operator("RELU", "int8", (), ()))), 2, InputError, "is a scalar and has no batch"),
        (
            load(write(one_operator("RESHAPE", "int8", (2, 6), (3, 4), new_shape=(3, 4)))),
            2,
            UnsupportedError,
            "operator 0 RESHAPE: its batch cannot be changed",
        ),
    ],
)
def test_a_batch_that_does_not_fit(model: Model, batch: int, error: type[LastBitError], part: str) -> None:
    with pytest.raises(error) as caught:
        extract_operator(model, model.operators[0], batch)
    assert part in str(caught.value)


def test_an_operator_of_another_model() -> None:
    model, other = load(write(dense_graph())), load(write(dense_graph()))
    with pytest.raises(InputError, match="is not an operator of <bytes>'s main subgraph"):
        extract_operator(model, other.operators[0])


# ---- with_outputs


def test_outputs_are_replaced_and_nothing_else() -> None:
    graph = chain((0, 1), (1, 2), (2, 3))
    content = write(graph)
    new = with_outputs(content, [2, 1])
    assert_same(load(new).subgraphs[0], replace(graph, outputs=(2, 1)))
    assert sum(a != b for a, b in zip(content, new, strict=False)) <= 4
    # Again, and back.
    assert_same(load(with_outputs(new, [3])).subgraphs[0], graph)


def test_outputs_are_replaced_where_constants_are_behind_the_flatbuffer() -> None:
    graph = dense_graph()
    content = external(graph, lambda data, end: (end, len(data)))
    for tail in (b"", b"x", b"xyz"):
        new = with_outputs(content + tail, [0, 3])
        found = load(new)
        assert found.subgraphs[0].outputs == (0, 3)
        np.testing.assert_array_equal(found.tensors[1].data, graph.tensors[1].data)


@pytest.mark.parametrize(("outputs", "part"), [([4], "no tensor 4"), ([-1], "no tensor -1"), ([], "no outputs")])
def test_outputs_that_are_not_there(outputs: list[int], part: str) -> None:
    with pytest.raises(InputError, match=part):
        with_outputs(write(dense_graph()), outputs)


def test_a_damaged_file_gets_no_outputs() -> None:
    with pytest.raises(ModelError, match="damaged"):
        with_outputs(write(dense_graph())[:100], [0])
    for number, content in mutants(seeds(), 500):
        try:
            with_outputs(content, [0])
        except LastBitError as error:
            assert isinstance(error, ModelError | InputError | UnsupportedError), number  # noqa: PT017


# ---- the real interpreters


def runs(content: bytes, inputs: dict[int, Any], shape: tuple[int, ...]) -> list[Any]:
    """The first output of each of LiteRT's three kernel sets, none where LiteRT is not installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        return []
    results = []
    for kernels in (
        OpResolverType.AUTO,
        OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        OpResolverType.BUILTIN_REF,
    ):
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
        for index, values in inputs.items():
            interpreter.set_tensor(interpreter.get_input_details()[index]["index"], values)
        interpreter.invoke()
        result = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        assert result.shape == shape
        results.append(result)
    return results


def filled(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    return np.random.default_rng(1).integers(0, 5, shape).astype(dtype)


@needs_models
@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_operators_of_real_models_run_in_litert(path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    model = load(path)
    taken = [op for op in model.operators if op.name in WRITTEN][:8]
    assert taken
    for op in taken:
        for batch in (None, 3):
            if op.name == "RESHAPE" and batch:
                continue
            single = extract_operator(model, op, batch)
            same_after_a_round_trip(single)
            fed = [single.tensors[i] for i in single.inputs]
            values = {n: filled(t.shape, t.dtype.numpy) for n, t in enumerate(fed) if t.dtype.numpy is not None}
            runs(write(single), values, single.tensors[single.outputs[0]].shape)


@needs_models
def test_one_operator_gives_what_the_whole_model_gives() -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    kernels = litert.OpResolverType.BUILTIN_REF
    model = load(MODELS / "mlt_toycar_fullint_micro_v01.tflite")
    dense = model.dense_operators
    assert len(dense) == 10
    exposed = with_outputs(model.content, [i for op in dense for i in (op.inputs[0], op.outputs[0])])
    values = np.random.default_rng(7).normal(0, 10, (1, 640)).astype(np.float32)
    whole = litert.Interpreter(model_content=exposed, experimental_op_resolver_type=kernels)
    whole.allocate_tensors()
    whole.set_tensor(model.inputs[0].index, values)
    whole.invoke()
    assert [d["index"] for d in whole.get_output_details()] == list(load(exposed).subgraphs[0].outputs)
    for op in dense:
        single = extract_operator(model, op)
        results = runs(write(single), {0: whole.get_tensor(op.inputs[0])}, single.tensors[3].shape)
        np.testing.assert_array_equal(results[2], whole.get_tensor(op.outputs[0]))


@needs_models
def test_every_model_with_every_dense_output_runs_in_litert() -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    for path in VALID:
        model = load(path)
        computed = [i for op in model.operators for i in op.outputs]
        outputs = [i for i in computed if model.tensors[i].dtype.numpy is not None][:30]
        for kernels in (litert.OpResolverType.AUTO, litert.OpResolverType.BUILTIN_REF):
            content = with_outputs(model.content, outputs)
            interpreter = litert.Interpreter(model_content=content, experimental_op_resolver_type=kernels)
            interpreter.allocate_tensors()
            interpreter.invoke()
            assert [d["index"] for d in interpreter.get_output_details()] == outputs


def test_constants_behind_the_flatbuffer_run_in_litert() -> None:
    graph = dense_graph()
    values = {0: np.array([[3, -7, 100, -128]], np.int8)}
    wanted = runs(write(graph), values, (1, 3))
    content = external(graph, lambda data, end: (end, len(data)))
    for changed_content in (content, with_outputs(content, [3])):
        for found, expected in zip(runs(changed_content, values, (1, 3)), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_litert_refuses_a_constant_that_is_too_short() -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    content = bytearray(write(dense_graph()))
    load(bytes(content))
    at = content.index(np.array([3, 4], np.int32).tobytes())
    content[at] = 4
    opened(bytes(content), "buffer 1 has 12 bytes of data, wanted 16 for int8 [4, 4]")
    with pytest.raises((RuntimeError, ValueError)):
        litert.Interpreter(model_content=bytes(content)).allocate_tensors()


def per_tensor_graph() -> Subgraph:
    return changed(changed(dense_graph(), 1, quant=quant(0.125)), 2, quant=quant(1 / 32))


@pytest.mark.parametrize("graph", [dense_graph(), dense_graph(16, 8), per_tensor_graph()])
def test_it_runs_in_tflite_micro(graph: Subgraph) -> None:
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    values = filled(graph.tensors[0].shape, np.dtype(np.int8))
    interpreter = runtime.Interpreter.from_bytes(write(graph))
    interpreter.set_input(values, 0)
    interpreter.invoke()
    found = interpreter.get_output(0)
    assert found.shape == graph.tensors[3].shape
    wanted = runs(write(graph), {0: values}, graph.tensors[3].shape)
    if wanted:
        assert np.abs(found.astype(int) - wanted[2].astype(int)).max() <= 1
