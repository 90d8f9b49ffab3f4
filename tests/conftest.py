"""Fixtures of the package's tests. Shapes are checked by the hook that ../conftest.py installs."""

import json
import os
import subprocess
import sys

import browser
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
# The same examples on every machine, no clock, nothing written: a law holds or it does not.
settings.register_profile("book", derandomize=True, deadline=None, database=None, max_examples=100)
settings.load_profile("book")


def _python(code):
    env = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120
    )


@pytest.fixture(scope="session")
def reader():
    """`reader(code)` runs Python as a reader does: in a process of its own, without the shape hook.

    Returns a `CompletedProcess` with `returncode`, `stdout` and `stderr`.
    """
    return _python


_EACH = """
import json
for snippet in {snippets}:
    try:
        exec(snippet, {{}})
    except BaseException as error:
        print(json.dumps(f"{{type(error).__name__}}: {{error}}"))
    else:
        print(json.dumps(""))
"""


@pytest.fixture(scope="session")
def reader_errors():
    """`reader_errors([snippet, …])`: for each snippet the error a reader sees, or "".

    One process runs them all, so that a dozen cost one start. Each starts from nothing. An error
    reads "ValueError: images must lie in …".
    """

    def errors(snippets):
        done = _python(_EACH.format(snippets=repr(list(snippets))))
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('"')]
        assert len(found) == len(snippets), done.stdout
        return found

    return errors


@pytest.fixture(scope="module")
def chromium():
    """Headless Chromium. One for each file: while it runs, no notebook could be run beside it."""
    with browser.chromium() as running:
        yield running


@pytest.fixture(params=["0", "a secret"])
def seed(request, monkeypatch):
    """Once for each of two seeds, from which the exercise checks draw their inputs."""
    monkeypatch.setenv("VAE_TUTORIAL_CHECK_SEED", request.param)
    return request.param
