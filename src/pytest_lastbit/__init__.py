"""LastBit in your pytest suite: golden vectors as parametrized tests, and one fixture for model and runtime.

    def test_my_layer(lastbit_vector):                  # once for each vector of --lastbit-vectors DIR
        assert (my_layer(lastbit_vector.input) == lastbit_vector.output).all()

    def test_my_network(bitexact):                      # --lastbit-model FILE, --lastbit-runtime NAME
        bitexact(my_network, x)

pytest loads this module in every run, so it stands beside the package `lastbit` and imports nothing of it before a
test asks for `bitexact`. Vectors need NumPy alone.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import numpy as np

    from lastbit import Model

__all__ = ["Bitexact", "Vector", "bitexact"]

_OPTIONS = {
    "model": "a .tflite model, for the fixture bitexact",
    "runtime": "the exact runtime, for the fixture bitexact (lastbit runtimes lists them)",
    "vectors": "a folder that `lastbit vectors` wrote, or one .npz of it, for the fixture lastbit_vector",
}


@dataclass(frozen=True, eq=False)
class Vector:
    """One golden vector of one layer.

    Attributes:
        operator: the layer's operator index.
        number: which of the layer's vectors it is.
        input: `[1, depth]`, in the input's type; `[1, height, width, channels]` of a convolution.
        output: what the runtime prints, in the output's type.
        arrays: everything else that the file has: `acc` of this vector, and `weights`, `bias`, ... of the layer.
        catches: names of the mistakes and rules that it catches.
        about: what the file says of itself: model, runtime, scales and zero points.
    """

    operator: int
    number: int
    input: np.ndarray[Any, Any]
    output: np.ndarray[Any, Any]
    arrays: dict[str, np.ndarray[Any, Any]] = field(repr=False)
    catches: tuple[str, ...]
    about: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Bitexact:
    """A model and the runtime that tests hold code to.

    Attributes:
        model: the model.
        runtime: the runtime's name.
    """

    model: Model
    runtime: str

    def __call__(self, mine: Any, x: Any = None, **options: Any) -> None:
        """Assert that an array or a function is what the runtime prints: `lastbit.testing.assert_bitexact`."""
        __tracebackhide__ = True
        from lastbit.testing import assert_bitexact

        assert_bitexact(mine, self.model, x, self.runtime, **options)

    def run(self, x: Any) -> np.ndarray[Any, Any]:
        """What the runtime prints for an input: the model's first output."""
        import lastbit

        return lastbit.run(self.model, x, self.runtime).output


def pytest_addoption(parser: pytest.Parser) -> None:
    """Each setting, on the command line and in the file that configures pytest."""
    group = parser.getgroup("lastbit", "bit-exact layers")
    for name, help_text in _OPTIONS.items():
        group.addoption(f"--lastbit-{name}", metavar=name.upper(), help=f"{help_text}; in pytest.ini: lastbit_{name}")
        parser.addini(f"lastbit_{name}", help_text)


def pytest_configure(config: pytest.Config) -> None:
    """The marker, which says for one test what the settings say for all."""
    config.addinivalue_line(
        "markers", "lastbit(model=, runtime=, vectors=): what bitexact and lastbit_vector are in this test"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each vector."""
    if "lastbit_vector" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("lastbit")
    path = _path(metafunc.config, marker, "vectors")
    found = list(_vectors(path))
    metafunc.parametrize("lastbit_vector", found, ids=[f"op{v.operator}-{v.number}" for v in found])


@pytest.fixture
def bitexact(request: pytest.FixtureRequest) -> Bitexact:
    """Assert that code is bit-exact: `bitexact(function_or_array, x)`. Model and runtime are the settings'."""
    marker = request.node.get_closest_marker("lastbit")
    runtime = _setting(request.config, marker, "runtime")
    path = _path(request.config, marker, "model")
    import lastbit

    return Bitexact(lastbit.load(path), runtime)


def _setting(config: pytest.Config, marker: pytest.Mark | None, name: str) -> str:
    """A setting of the test, of the command line or of the configuration file; in this order."""
    value = (marker.kwargs.get(name) if marker else None) or config.getoption(f"lastbit_{name}")
    value = value or config.getini(f"lastbit_{name}")
    if not value:
        raise pytest.UsageError(
            f"{_OPTIONS[name]}: not given. Use --lastbit-{name}, lastbit_{name} = ... in pytest.ini, "
            f"or @pytest.mark.lastbit({name}=...)."
        )
    return str(value)


def _path(config: pytest.Config, marker: pytest.Mark | None, name: str) -> Path:
    """A path that a setting names; relative ones begin where pytest was called, else at the project's root."""
    text = _setting(config, marker, name)
    for base in (config.invocation_params.dir, config.rootpath):
        if (base / text).exists():
            return base / text
    raise pytest.UsageError(
        f"lastbit {name}: there is no {text} in {config.invocation_params.dir} or {config.rootpath}."
    )


def _vectors(path: Path) -> Iterator[Vector]:
    """The vectors of every layer in a folder, or of one file."""
    import numpy as np

    files = sorted(path.glob("op*.npz"), key=lambda file: (len(file.stem), file.stem)) if path.is_dir() else [path]
    if not files:
        raise pytest.UsageError(f"{path}: no op*.npz in it; write them: lastbit vectors MODEL -o {path} --format npz")
    for file in files:
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            about = json.loads(str(arrays.pop("about")))
            inputs, outputs = arrays.pop("input"), arrays.pop("output")
        except (AttributeError, EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
            told = f"no entry {error}" if isinstance(error, KeyError) else f"it cannot be read ({error})"
            raise pytest.UsageError(
                f"{file}: {told}; wanted a .npz that `lastbit vectors MODEL -o DIR --format npz` wrote."
            ) from None
        labels = about.get("labels", [[]] * len(inputs))
        for number in range(len(inputs)):
            one = slice(number, number + 1)
            rest = {name: value[one] if name == "acc" else value for name, value in arrays.items()}
            yield Vector(about["operator"], number, inputs[one], outputs[one], rest, tuple(labels[number]), about)
