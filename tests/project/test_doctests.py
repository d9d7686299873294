"""Every example in a docstring of the installed package is run."""

import doctest
import importlib
import pkgutil

import pytest

import lastbit

MODULES = [
    module.name
    for module in pkgutil.walk_packages(lastbit.__path__, "lastbit.")
    if not module.name.endswith(("__main__", "_worker"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0
