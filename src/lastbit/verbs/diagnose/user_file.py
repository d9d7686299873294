"""A function from a user's own file."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...model.errors import InputError
from .calling import located

__all__ = ["load_function", "parameter_meanings"]


def load_function(place: str) -> Callable[..., Any]:
    """The function that `file.py:function` names; `file.py` alone is enough where the file has one function.

    The file is run as a module of its own name, with its folder first on the path, so that it can import its
    neighbours.

    Raises:
        InputError: no such file or function, or the file raises.
    """
    path_text, _, name = place.rpartition(":") if ".py:" in place else (place, "", "")
    path = Path(path_text)
    if not path.is_file():
        raise InputError(f"{path_text}: no such file; wanted FILE.py:FUNCTION")
    if path.suffix != ".py":
        raise InputError(f"{path_text} is not a Python file; wanted FILE.py:FUNCTION")
    module = _imported(path)
    own = {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not key.startswith("_")
    }
    if not name and len(own) == 1:
        return next(iter(own.values()))
    found = _attribute(module, name) if name else None
    if not callable(found):
        has = f"it has {', '.join(own)}" if own else "it has no function"
        what = f"there is no function {name!r} in {path_text}" if name else f"{path_text} has several functions"
        raise InputError(f"{what}; {has}. Name one: --code {path_text}:{next(iter(own), 'FUNCTION')}")
    made: Callable[..., Any] = found
    return made


def _attribute(module: Any, name: str) -> Any:
    """What a name of a file stands for, `Layer.forward` as well; of a class, an object made without arguments.

    Raises:
        InputError: a class cannot be made so.
    """
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
        if inspect.isclass(found):
            try:
                found = found()
            except (Exception, SystemExit) as error:  # the user's class may raise anything
                raise InputError(
                    f"{name}: {part} cannot be made without arguments ({located(error)}). Make the object in your "
                    "file, and name it"
                ) from error
    return found


def _imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    before = sys.modules.get(path.stem)
    sys.path.insert(0, folder)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's file may raise anything
        if before is None:
            del sys.modules[path.stem]
        else:
            sys.modules[path.stem] = before
        raise InputError(f"{path} cannot be imported: {located(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def parameter_meanings(given: tuple[str, ...]) -> dict[str, str]:
    """`NAME=MEANING`, as often as it was given.

    Raises:
        InputError: one has another form.
    """
    found = {}
    for text in given:
        name, equals, meaning = text.partition("=")
        if not equals or not name or not meaning:
            raise InputError(f"--param {text}: wanted NAME=MEANING, such as s1=input_scale")
        found[name] = meaning
    return found
