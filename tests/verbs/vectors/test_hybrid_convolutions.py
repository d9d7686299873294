"""vectors of hybrid convolutions: images that catch rivals, confirmed by interpreters."""

import numpy as np
import pytest

import lastbit
from lastbit.oracles import on_this_machine
from lastbit.verbs.vectors.formats import write_vectors
from lastbit.verbs.vectors.verb import vectors
from tests.support.hybrid_models import hybrid_convolution
from tests.support.interpreters import needs_all_interpreters

XNNPACK = on_this_machine("litert-xnnpack")


@needs_all_interpreters
@pytest.mark.parametrize("runtime", [XNNPACK, "litert-builtin-x86", "litert-reference"])
@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_images_catch_rivals_and_are_confirmed(runtime, op):
    model = hybrid_convolution(op, channels=5, units=5)
    report = vectors(model, runtime, count=6, random=64)
    (layer,) = report.layers
    assert layer.x.shape[1:] == (6, 7, 5)
    assert layer.outputs.tobytes() == lastbit.run(model, layer.x, runtime=runtime).output.tobytes()
    assert layer.confirmed == layer.outputs.size > 0 == layer.mismatches
    caught = {catch.name: catch.vectors for catch in layer.catches}
    names = {"kernel_flipped", "padding_zero", "rows_truncated"}
    names |= {"depthwise_layout"} if op == "DEPTHWISE_CONV_2D" else {"kernel_as_hwio", "kernel_as_oihw"}
    assert names <= set(caught)
    assert all(caught[name] for name in names)
    missed = [catch.name for catch in layer.catches if not catch.vectors and not catch.equal]
    assert missed == []


def test_files_hold_images_and_the_windows_geometry(tmp_path):
    model = hybrid_convolution(stride=2)
    report = vectors(model, "litert-builtin-x86", count=4, random=0, oracle=False)
    folder = str(tmp_path / "made")
    write_vectors(report, folder, ("npz", "json"))
    with np.load(f"{folder}/op0.npz") as arrays:
        assert arrays["input"].shape[1:] == (6, 7, 3)
        assert arrays["quantized_input"].shape == arrays["input"].shape
        assert arrays["weights"].shape == (5, 3, 3, 3)
        assert arrays["acc"].shape == arrays["output"].shape == (len(arrays["input"]), 3, 4, 5)
        centered = arrays["quantized_input"].astype(int) - arrays["input_zero_point"][:, 0, None, None, None]
        near = np.abs(centered * arrays["input_scale"][:, 0, None, None, None] - arrays["input"])
        assert (near <= 0.51 * arrays["input_scale"].max(axis=1)[:, None, None, None]).all()
    text = (tmp_path / "made" / "op0.json").read_text()
    assert '"stride_height": 2' in text
    assert '"quantized_together": "image"' in text


def test_large_images_are_few():
    model = hybrid_convolution(image=(48, 40), channels=8, units=8)
    (layer,) = vectors(model, "litert-builtin-x86", count=3, random=0, oracle=False).layers
    assert 0 < layer.candidates <= 40
    assert all(catch.vectors for catch in layer.catches if catch.name in ("kernel_flipped", "padding_zero"))
