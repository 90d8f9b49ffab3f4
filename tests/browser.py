"""Chromium for the tests: how it starts, how pages are served, what is wrong with a page.

Debian's Chromium, driven by Playwright, never downloaded. Without it the browser tests skip and say
so; with VAE_TUTORIAL_REQUIRE_BROWSER=1, as in CI, they fail instead.
"""

import contextlib
import functools
import http.server
import os
import shutil
import threading
from importlib.resources import files

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = (files("axe_playwright_python") / "axe.min.js").read_text()


@contextlib.contextmanager
def chromium():
    """A running headless Chromium, with a user-data folder of its own that goes with it."""
    path = shutil.which("chromium")
    if path is None:
        reason = "Chromium is not here: install Debian's package chromium"
        if os.environ.get("VAE_TUTORIAL_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@contextlib.contextmanager
def serve(folder):
    """The folder over HTTP on a free port of 127.0.0.1; yields the address, ending in '/'."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Watch:
    """Open a page and write down what it asks for from elsewhere, what fails and what it logs."""

    def __init__(self, context, base):
        self.base, self.found = base, []
        self.page = context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.found.append(f"script error: {error}"))
        self.page.on("requestfailed", lambda r: self.found.append(f"failed request: {r.url}"))
        self.page.on("response", self._response)
        self.page.route("**/*", self._route)

    def _console(self, message):
        self.found.append(f"console {message.type}: {message.text}")

    def _response(self, response):
        if response.status >= 400:
            self.found.append(f"status {response.status}: {response.url}")

    def _route(self, route):
        url = route.request.url
        if url.startswith((self.base, "data:", "blob:")):
            route.continue_()
        else:
            self.found.append(f"external request: {url}")
            route.abort()

    def open(self, name):
        """Go to a page of the book and wait until its formulas are set."""
        self.page.goto(self.base + name)
        self.page.wait_for_load_state("networkidle")
        self.page.evaluate("window.MathJax?.startup?.promise")
        return self.page


def formulas(page):
    """What is wrong with the formulas of the page: not typeset, or typeset as an error."""
    return page.evaluate(
        """() => {
          const found = [];
          for (const e of document.querySelectorAll('.math'))
            if (!e.querySelector('mjx-container')) found.push('not typeset: ' + e.textContent);
          for (const e of document.querySelectorAll('mjx-merror, [data-mjx-error]'))
            found.push('error in: ' + e.textContent);
          return found;
        }"""
    )


def pictures(page):
    """Pictures without alternative text, or with a file's name in its place."""
    return page.evaluate(
        """() => [...document.images]
          .filter((e) => !e.alt.trim() || /_images\\/|\\.(png|svg)$/.test(e.alt))
          .map((e) => 'no alternative text: ' + e.outerHTML.slice(0, 120))"""
    )


def overflow(page):
    """Elements that make the page itself scroll sideways."""
    return page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth, found = [];
          if (document.documentElement.scrollWidth <= width) return found;
          const clips = (e) => /auto|scroll|hidden|clip/.test(getComputedStyle(e).overflowX);
          for (const e of document.querySelectorAll('body *')) {
            const box = e.getBoundingClientRect();
            if (!box.width || box.right <= width + 1) continue;
            if (getComputedStyle(e).position === 'fixed') continue;
            let up = e.parentElement;
            while (up && up !== document.body && !clips(up)) up = up.parentElement;
            if (!up || up === document.body)
              found.push(`${Math.round(box.right)} > ${width}: ${e.outerHTML.slice(0, 120)}`);
          }
          return found.length ? found.slice(0, 5) : ['the page scrolls sideways'];
        }"""
    )


def accessibility(page):
    """Violations that axe finds, one line each."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE)
    result = page.evaluate("axe.run(document, {preload: false, resultTypes: ['violations']})")
    return [
        f"axe {v['id']} ({v['impact']}): {v['nodes'][0]['target']} and {len(v['nodes']) - 1} more"
        for v in result["violations"]
    ]
