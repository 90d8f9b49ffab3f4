"""Every docstring's example is run, and every public function has one."""

import doctest
import importlib
import inspect
import sys

import pytest
from rules import ROOT

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "vae_tutorial").rglob("*.py")
    if path.stem != "__main__"
)


@pytest.fixture(autouse=True)
def _pictures():
    import matplotlib

    matplotlib.use("Agg")
    with matplotlib.rc_context():
        yield
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_has_an_example(name):
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [key for key in vars(module) if not key.startswith("_")])
    lacking = [
        key
        for key in names
        if inspect.isroutine(value := getattr(module, key))
        and value.__module__ == name
        and ">>>" not in (inspect.getdoc(value) or "")
    ]
    assert not lacking, f"no example in the docstring of {', '.join(lacking)}"
