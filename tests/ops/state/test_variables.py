"""Models that keep state between calls: streams, their beginning, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lab.cases.variables import streams
from lastbit.model.errors import InputError, UnsupportedError
from lastbit.model.graph import Operator
from lastbit.model.tflite import load, write
from lastbit.model.types import INT16, UINT8
from lastbit.oracles import on_this_machine, open_oracle
from lastbit.verbs.compare.verb import compare
from lastbit.verbs.verify.verb import verify
from tests.support.interpreters import needs_all_interpreters
from tests.support.places import MODELS, needs_shared_models

RUNTIMES = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")
TYPES = ("int8", "uint8", "int16", "float32", "int32")


def delay(dtype="int8"):
    return next(streams(np.random.default_rng(3), dtype))


def test_a_delay_line_gives_what_was_put_in_before():
    stream = delay()
    model = stream.model()
    x = np.concatenate(stream.calls)
    before, now = lastbit.run(model, x, "tflm").outputs
    np.testing.assert_array_equal(now, x)
    np.testing.assert_array_equal(before[1:], x[:-1])
    np.testing.assert_array_equal(before[0], model.subgraphs[1].tensors[1].data[0])


@pytest.mark.parametrize("engine", ["reference", "numpy"])
def test_an_executable_goes_on_until_it_is_reset(engine):
    stream = delay()
    x = np.concatenate(stream.calls)
    wanted = lastbit.run(stream.model(), x, "tflm").output
    executable = lastbit.build(stream.model(), "tflm", engine=engine)
    parts = [executable(x[:5]), executable(x[5]), executable(x[6:])]
    np.testing.assert_array_equal(np.concatenate(parts), wanted)
    assert (executable(x[:1]) != wanted[:1]).any()
    executable.reset()
    np.testing.assert_array_equal(executable(x), wanted)


@needs_all_interpreters
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_streams_are_the_interpreters(runtime, dtype):
    runtime = on_this_machine(runtime)
    for stream in streams(np.random.default_rng(9), dtype):
        with open_oracle(runtime) as oracle:
            run = oracle.run(stream.content, [[x] for x in stream.calls])
        theirs = [np.concatenate(arrays) for arrays in zip(*run.outputs, strict=True)]
        ours = lastbit.run(stream.model(), np.concatenate(stream.calls), runtime).outputs
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


@needs_shared_models
@needs_all_interpreters
@pytest.mark.parametrize("name", ["mww_v2_vad", "more/mww_v2_hey_mycroft"])
def test_wake_word_models_are_exact_call_after_call(name):
    model = lastbit.load(MODELS / f"{name}.tflite")
    runtimes = [on_this_machine(runtime) for runtime in RUNTIMES]
    report = verify(model, runtimes, samples=6)
    assert report.exit_code == 0, str(report)
    read = [op for op in model.operators if op.name == "READ_VARIABLE"]
    for result in report.results:
        assert all(result.operators[op.index].status == "exact" for op in read)
        assert result.operators[0].status == "no outputs"


def test_compare_proves_the_operators_that_keep_values():
    certificate = compare(delay().model(), "tflm", "litert-reference", oracles=False)
    assert certificate.exit_code == 0


def changed(model, index, **fields):
    graph = model.subgraphs[0]
    operators = [replace(op, **fields) if op.index == index else op for op in graph.operators]
    return load(write(replace(graph, operators=tuple(operators)), others=model.subgraphs[1:]))


def test_what_cannot_be_followed_is_refused_with_its_reason():
    model = delay().model()
    first = {op.name: op.index for op in reversed(model.operators)}
    without = changed(model, first["CALL_ONCE"], options={"init_subgraph_index": 7})
    refusals = lastbit.prepare(without, "tflm").refusals
    assert "no subgraph 7" in refusals[first["CALL_ONCE"]]
    assert "before it has a value" in refusals[first["READ_VARIABLE"]]
    graph = model.subgraphs[1]
    tensors = (graph.tensors[0], replace(graph.tensors[1], data=None))
    computed = replace(graph, tensors=tensors, inputs=(1,))
    refusals = lastbit.prepare(load(write(model.subgraphs[0], others=[computed])), "tflm").refusals
    assert "LastBit covers constants only" in refusals[first["CALL_ONCE"]]
    other = replace(graph, operators=(*graph.operators, Operator(2, "RELU", 1, (1,), (1,), {})))
    with pytest.raises(UnsupportedError, match="has RELU"):
        lastbit.prepare(load(write(model.subgraphs[0], others=[other])), "tflm").require_all()


@pytest.mark.parametrize("fields", [{"dtype": UINT8}, {"dtype": INT16}, {"shape": (1, 99), "shape_signature": (1, 99)}])
def test_a_value_of_another_type_or_shape_is_not_read(fields):
    """Interpreters disagree: LiteRT ends or reads bytes as another type, TFLM reads behind the value."""
    model = delay().model()
    graph = model.subgraphs[0]
    read = next(op for op in model.operators if op.name == "READ_VARIABLE")
    tensors = [replace(t, **fields) if t.index == read.outputs[0] else t for t in graph.tensors]
    other = load(write(replace(graph, tensors=tuple(tensors)), others=model.subgraphs[1:]))
    for runtime in RUNTIMES:
        assert "the variable holds int8 [1, 16], and " in lastbit.prepare(other, runtime).refusals[read.index]


def test_rows_that_depend_on_each_other_are_no_data_set(tmp_path):
    stream = delay()
    with pytest.raises(UnsupportedError, match="keeps state between calls"):
        lastbit.evaluate(stream.model(), np.concatenate(stream.calls), runtimes=["tflm"])


def test_a_handle_cannot_be_cut_out(tmp_path):
    from lastbit.model.tflite.extract import extract_operator

    model = delay().model()
    with pytest.raises(UnsupportedError, match="is a resource"):
        extract_operator(model, next(op for op in model.operators if op.name == "READ_VARIABLE"))


def test_inputs_of_a_stream_have_one_length():
    model = delay().model()
    with pytest.raises(InputError):
        lastbit.run(model, np.zeros((3, 99), np.int8), "tflm")


def test_damaged_operands_of_variables_are_refused_and_end_no_verb_in_a_fault():
    model = delay().model()
    main, first = model.subgraphs

    def without_inputs(graph, name):
        operators = tuple(replace(op, inputs=()) if op.name == name else op for op in graph.operators)
        return replace(graph, operators=operators)

    for graphs, told in (
        ((without_inputs(main, "ASSIGN_VARIABLE"), first), "ASSIGN_VARIABLE"),
        ((main, without_inputs(first, "ASSIGN_VARIABLE")), "CALL_ONCE"),
        ((without_inputs(main, "READ_VARIABLE"), first), "READ_VARIABLE"),
    ):
        broken = replace(model, subgraphs=graphs)
        with pytest.raises(UnsupportedError, match=told):
            lastbit.run(broken, delay().calls[0], "tflm")
        str(lastbit.inspect(broken))


def test_a_handle_is_no_output_that_an_array_holds():
    model = delay().model()
    main = model.subgraphs[0]
    handle = next(op for op in main.operators if op.name == "VAR_HANDLE").outputs[0]
    broken = replace(model, subgraphs=(replace(main, outputs=(handle,)), *model.subgraphs[1:]))
    with pytest.raises(UnsupportedError, match="is resource, which no array holds"):
        lastbit.run(broken, delay().calls[0], "tflm")
