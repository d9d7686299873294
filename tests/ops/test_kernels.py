"""What kernels refuse and decline: a table with an entry for every family, and the order in which it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lastbit.model.errors import Refusal, UnsupportedError
from lastbit.model.tflite.synthesize import quant
from lastbit.ops.kernels import DELEGATE, KERNELS
from lastbit.ops.prepare import prepare, prepare_operator
from lastbit.runtimes import RUNTIMES, Rule, get_runtime
from lastbit.runtimes.base import Family
from lastbit.runtimes.variant import Variant
from tests.support.models import make_dense_model


def test_every_family_that_a_runtime_names_has_a_kernel():
    assert set(KERNELS) == set(Family)
    named = {rule.kernel for runtime in RUNTIMES.values() for rule in runtime.rules.values() if isinstance(rule, Rule)}
    assert named == set(Family)
    assert all(kernel.family is family for family, kernel in KERNELS.items())


def test_only_the_delegate_declines():
    assert [family for family, kernel in KERNELS.items() if kernel.declines] == [DELEGATE.family]


def test_a_kernel_may_be_named_by_its_text():
    """A user's own Runtime need not import the enum."""
    model = make_dense_model()
    base = RUNTIMES["tflm"]
    texts = {key: replace(rule, kernel="tflm") if isinstance(rule, Rule) else rule for key, rule in base.rules.items()}
    prepared = prepare_operator(model, model.operators[0], replace(base, rules=texts))
    assert prepared.kernel is Family.TFLM


@pytest.mark.parametrize("runtime", ["litert-builtin-x86", "litert-reference", "tflm"])
def test_a_bias_scale_that_does_not_fit_is_refused_by_the_runtime_and_xnnpack_warns(runtime):
    model = with_bias_scale(0.5)
    with pytest.raises(UnsupportedError, match="more than 2 %") as caught:
        prepare_operator(model, model.operators[0], runtime)
    assert caught.value.kind is Refusal.RUNTIME
    assert prepare(model, runtime).refused[0].kind is Refusal.RUNTIME
    notes = prepare_operator(model, model.operators[0], "litert-xnnpack").notes
    assert any("does not check that" in note for note in notes)


def test_what_a_version_refuses_is_told_after_what_every_version_does():
    """TensorFlow 2.12 knows operator versions up to a number, and its kernel refuses the bias first."""
    model = with_version(with_bias_scale(0.5), 99)
    for words, changed in (("more than 2 %", model), ("operator version 99", with_version(make_dense_model(), 99))):
        with pytest.raises(UnsupportedError, match=words):
            prepare_operator(changed, changed.operators[0], "litert-reference@tf2.12.1")


def with_bias_scale(scale):
    """A dense layer whose bias has this scale."""
    model = make_dense_model()
    graph = model.subgraphs[0]
    index = model.operators[0].inputs[2]
    tensors = list(graph.tensors)
    tensors[index] = replace(tensors[index], quant=quant(scale))
    return replace(model, subgraphs=(replace(graph, tensors=tuple(tensors)),))


def with_version(model, version):
    """The model with another version number of its operator."""
    graph = model.subgraphs[0]
    operators = tuple(replace(op, version=version) for op in graph.operators)
    return replace(model, subgraphs=(replace(graph, operators=operators),))


def test_outputs_that_a_version_leaves_unwritten_have_no_meaning():
    written = get_runtime("litert-reference@tf2.14.1").written_in_part
    assert Variant.parse("int8 per_channel") in written
