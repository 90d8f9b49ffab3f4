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


@pytest.fixture
def show(chromium, tmp_path):
    """`show(name, …)` opens a page from disk with these figures; whatever it says is an error.

    In place of a name it takes HTML. Options go to the browser's context.
    """
    from vae_tutorial import explore

    contexts, said = [], []

    def open_page(*names, theme="light", width=800, media="screen", **options):
        body = "\n".join(explore.static_html(n) if n in explore.FIGURES else n for n in names)
        colours = {"light": ("#222832", "#fff"), "dark": ("#ced6dd", "#14181e")}[theme]
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_text(
            f'<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><title>Figures</title><style>:root{'
            f"--pst-color-text-base:{colours[0]};--pst-color-background:{colours[1]}}}"
            f"body{{color:{colours[0]};background:{colours[1]}}}</style></head>"
            f"<body><main><h1>Figures</h1>{body}</main></body></html>",
            encoding="utf8",
        )
        options = {"reduced_motion": "reduce", **options}
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.emulate_media(media=media)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((path.as_uri(), "data:"))
                else said.append(f"request for {request.url}")
            ),
        )
        page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_function(
                "n => document.querySelectorAll('div.vf[data-live]').length === n", arg=len(names)
            )
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
