"""A lesser CPU than this one, by hiding features: the masks, and that the interpreter then picks that CPU's kernels."""

import numpy as np
import pytest

from lab.reach.hidden import HIDDEN, can_hide, masks, open_hidden
from lab.record.recorded_operators import read_golden
from lastbit.oracles import OracleFailure, installed
from tests.support.places import GOLDEN

RECORDED = {
    "litert-xnnpack-avx2": ("AVX2", "operators.litert-xnnpack-avx2.npz"),
    "litert-xnnpack-avxvnni": ("AVX-VNNI", "operators.emulated.npz"),
    "litert-xnnpack-avx512": ("AVX512", "operators.emulated.npz"),
}


def test_masks_have_the_bits_of_intels_manual():
    assert masks("AVX2") == "d0230000 5942 3c00100 a00030 ffffffff"
    assert masks("AVX-VNNI").split()[3] == "200020"  # AVX-VNNI itself stays
    assert masks("AVX512").split()[0] == "0"


def test_each_kind_hides_what_the_kinds_before_it_have():
    assert "avx512_vnni" in HIDDEN["AVX512"]
    assert "avx512f" not in HIDDEN["AVX512"]
    assert "avx_vnni" not in HIDDEN["AVX-VNNI"]
    assert set(HIDDEN["AVX2"]) == {*HIDDEN["AVX-VNNI"], "avx_vnni", "avx_ifma", "gfni"}


@pytest.mark.parametrize("runtime", RECORDED)
def test_it_prints_what_a_real_or_emulated_cpu_of_that_kind_printed(runtime):
    kind, name = RECORDED[runtime]
    if not can_hide(kind) or installed("litert-reference") is None:
        pytest.skip(f"this machine cannot look like a CPU of the kind {kind}")
    compared = 0
    with open_hidden(runtime) as oracle:
        assert "hidden" in oracle.fingerprint.cpu
        for number, (model, inputs, outcomes) in enumerate(read_golden(GOLDEN / name)[1]):
            if number % 25 or isinstance(outcomes[runtime], str):
                continue
            try:
                found = oracle.run(model.content, [list(inputs)]).outputs[0]
            except OracleFailure as failure:
                pytest.fail(f"{model.operators[0].label}: {failure.reason}")
            for theirs, recorded in zip(found, outcomes[runtime], strict=True):
                assert np.ascontiguousarray(theirs).tobytes() == np.ascontiguousarray(recorded).tobytes()
                compared += theirs.size
    assert compared > 1000
