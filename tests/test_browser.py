"""The built book in Chromium: silent, self-contained, typeset, accessible, whole on a phone.

Every page of the table of contents is opened over HTTP and from disk, in light and dark, at 1280
and 390 pixels. The book is built here, from the working tree, with warnings as errors.
"""

import html.parser
import os
import subprocess
import sys
import urllib.parse
from pathlib import Path

import browser
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *(c["file"] for part in TOC["parts"] for c in part["chapters"])]
WIDTHS = [(1280, 900), (390, 844)]


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The folder of the built HTML."""
    out = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "jupyter_book", "build", str(ROOT / "book")]
    command += ["--config", str(ROOT / "_config.yml"), "--toc", str(ROOT / "_toc.yml")]
    command += ["--path-output", str(out), "-W", "-n", "--keep-going"]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return out / "_build" / "html"


@pytest.fixture(scope="module")
def site(book):
    with browser.serve(book) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as running:
        yield running


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("host", ["http", "disk"])
@pytest.mark.parametrize("name", PAGES)
def test_page(chromium, book, site, name, host, scheme):
    base = site if host == "http" else book.as_uri() + "/"
    context = chromium.new_context(color_scheme=scheme)
    try:
        watch = browser.Watch(context, base)
        found = {}
        for width, height in WIDTHS:
            watch.page.set_viewport_size({"width": width, "height": height})
            page = watch.open(f"{name}.html")
            page.wait_for_timeout(200)
            found[width] = browser.formulas(page) + browser.pictures(page) + browser.overflow(page)
            found[width] += browser.accessibility(page)
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        assert found == {width: [] for width, _ in WIDTHS}
        assert watch.found == []
    finally:
        context.close()


@pytest.mark.browser
def test_formulas_are_there_to_be_typeset(chromium, site):
    """The audit cannot pass because nothing is looked at."""
    context = chromium.new_context()
    page = browser.Watch(context, site).open("identities.html")
    assert page.locator(".math mjx-container").count() > 20
    context.close()


FAULTY = """<!doctype html><html lang=en><title>A page with faults</title>
<main><h1>Faults</h1><img src="missing.png" width=2000 height=5>
<p class=math>\\(x\\)</p><mjx-merror>bad</mjx-merror>
<script src="http://127.0.0.1:9/elsewhere.js"></script><script>console.error("hello")</script>
<button></button></main>"""


@pytest.mark.browser
def test_the_audit_finds_planted_faults(chromium, tmp_path):
    """Each kind of fault, planted in a page, is reported: the audit can fail."""
    (tmp_path / "index.html").write_text(FAULTY)
    with browser.serve(tmp_path) as address:
        context = chromium.new_context(viewport={"width": 390, "height": 844})
        watch = browser.Watch(context, address)
        page = watch.open("index.html")
        assert len(browser.formulas(page)) == 2
        assert any("no alternative text" in f for f in browser.pictures(page))
        assert browser.overflow(page) != []
        assert any("button-name" in f for f in browser.accessibility(page))
        log = "\n".join(watch.found)
        for part in ("external request", "console error: hello", "status 404", "failed request"):
            assert part in log
        context.close()


class _Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.links = set(), []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        self.links += [attrs[key] for key in ("href", "src") if attrs.get(key)]


def broken_links(root):
    """Local links of the built pages whose file or fragment does not exist."""
    pages = {}
    for path in sorted(p for p in root.rglob("*.html") if "_static" not in p.parts):
        pages[path.resolve()] = parser = _Links()
        parser.feed(path.read_text(encoding="utf8"))
    broken = []
    for path, parser in pages.items():
        for link in parser.links:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc or link == "#":
                continue
            target = (path.parent / urllib.parse.unquote(url.path)).resolve() if url.path else path
            if not target.exists():
                broken.append(f"{path.name}: no file {link}")
            elif (
                url.fragment
                and target in pages
                and urllib.parse.unquote(url.fragment) not in pages[target].ids
            ):
                broken.append(f"{path.name}: no anchor {link}")
    return broken


def test_links_lead_somewhere(book, tmp_path):
    assert broken_links(book) == []
    (tmp_path / "index.html").write_text('<a href="#gone">a</a><a href="lost.html">b</a>')
    assert len(broken_links(tmp_path)) == 2


def test_page_weight(book):
    """A page with its pictures stays readable on a phone's connection."""
    heavy = {
        name: (book / f"{name}.html").stat().st_size >> 10
        for name in PAGES
        if (book / f"{name}.html").stat().st_size > 1_500_000
    }
    assert heavy == {}
