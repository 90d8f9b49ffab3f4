"""The house: labels join prose, docstrings and tests; imports point down; importing is light."""

import ast

import pytest
from rules import LAYERS, ROOT, arrow_problems, label_problems


def test_every_label_exists_once_is_tested_and_every_reference_resolves():
    assert label_problems(ROOT) == []


def test_imports_point_down():
    assert arrow_problems(ROOT / "vae_tutorial") == []


def test_the_package_itself_loads_nothing(reader):
    done = reader(
        "import sys; before = set(sys.modules); import vae_tutorial;"
        "print(*sorted(m for m in set(sys.modules) - before if not m.startswith('__editable')))"
    )
    assert done.stdout.split() == ["vae_tutorial"], done.stderr


IMPORT_ALL = """
import contextlib, importlib, io, os, sys, torch
state, threads, files = torch.get_rng_state(), torch.get_num_threads(), os.listdir()
printed = io.StringIO()
with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
    for name in {names}:
        importlib.import_module("vae_tutorial." + name)
slow = {{"matplotlib", "sklearn", "torch._dynamo"}} & set(sys.modules)
assert not slow, "loads " + ", ".join(sorted(slow))
assert not printed.getvalue(), "prints " + printed.getvalue()
assert torch.equal(state, torch.get_rng_state()), "seeds"
assert threads == torch.get_num_threads(), "sets the number of threads"
assert files == os.listdir(), "leaves files"
"""


def test_importing_the_modules_is_light_and_has_no_side_effects(reader):
    here = {p.stem if p.is_file() else p.name for p in (ROOT / "vae_tutorial").iterdir()}
    names = sorted(here & set().union(*LAYERS))
    done = reader(IMPORT_ALL.format(names=names))
    assert done.returncode == 0, done.stderr


# The checks run a student's function, which may draw as it likes, inside torch.random.fork_rng.
MODULES = [p for p in sorted((ROOT / "vae_tutorial").rglob("*.py")) if p.parent.name != "checks"]
SEEDS = {"torch.manual_seed", "np.random.seed", "random.seed"}
DRAWS = {"torch.randn", "torch.rand", "torch.randint", "torch.randperm", "torch.normal"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_randomness_is_an_explicit_generator(path):
    """No global seed, no draw without a generator: the trick is the code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in SEEDS, f"line {node.lineno}: {name}"
            given = {keyword.arg for keyword in node.keywords}
            assert name not in DRAWS or "generator" in given, f"line {node.lineno}: no generator"
